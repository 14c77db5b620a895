// Python's operators.
#pragma once

#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/heap.h"

namespace fptq::jinja {

// Failure if the value is Undefined, saying what was not there.
void CheckDefined(const Value& value);
// All but `and` and `or`.
Value Calculate(Heap& heap, BinaryOperator op, const Value& a, const Value& b);
Value Negate(const Value& value);  // -value
Value Posit(const Value& value);   // +value
bool Compare(Heap& heap, Comparator comparator, const Value& a, const Value& b);
bool AreEqual(Heap& heap, const Value& a, const Value& b);
// a < b; Failure if they have no order.
bool IsLess(Heap& heap, const Value& a, const Value& b);
// item in container
bool Contains(Heap& heap, const Value& container, const Value& item);

// What `for` goes through. An iterator is spent.
std::vector<Value> Iterate(Heap& heap, const Value& value);
int64_t Length(const Value& value);

// object.name and object[key], which each try the other's way, too; Undefined if there is none.
// `name` must outlive the result.
Value GetAttribute(Heap& heap, const Value& object, const std::string& name);
Value GetItem(Heap& heap, const Value& object, const Value& key);
// object[start:stop:step]; None for what is not given.
Value GetSlice(Heap& heap, const Value& object, const Value& start, const Value& stop,
               const Value& step);

}  // namespace fptq::jinja
