#include <algorithm>

#include "text/jinja/functions.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/loop.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace fptq::jinja {

void Scope::Set(const std::string& name, Value value) {
  const auto it = std::ranges::find_if(variables, [&](const auto& v) { return v.first == name; });
  if (it == variables.end()) {
    variables.emplace_back(name, std::move(value));
  } else {
    it->second = std::move(value);
  }
}

void Buffer::Append(const Value& value) {
  constexpr size_t kChunk = 1 << 14;  // characters
  AppendStr(heap_, value, text_);
  while (charges_.size() < text_.size() / kChunk) {
    charges_.emplace_back(heap_, kChunk * sizeof(char32_t));
  }
}

Interpreter::Interpreter(Heap& heap, std::shared_ptr<Scope> globals)
    : heap_(heap), scope_(std::make_shared<Scope>(heap, std::move(globals))) {}

Interpreter::~Interpreter() {
  for (const auto& scope : captured_) scope->variables.clear();
}

Text Interpreter::Run(const Body& body) {
  Buffer buffer(heap_);
  out_ = &buffer;
  RunBody(body);
  return buffer.Finish();
}

Interpreter::Flow Interpreter::RunBody(const Body& body) {
  for (const Statement& statement : body) {
    const Flow flow = RunStatement(statement);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::RunStatement(const Statement& statement) {
  const Heap::Level level(heap_);
  heap_.Step();
  line_ = statement.line;
  return std::visit([&](const auto& node) { return Execute(node); }, statement.node);
}

Interpreter::Flow Interpreter::Execute(const Output& node) {
  for (const ExpressionPtr& item : node.items) out_->Append(Evaluate(item));
  return Flow::kNext;
}

void Interpreter::Assign(const Target& target, const Value& value) {
  if (!target.items.empty()) {
    const std::vector<Value> values = Iterate(heap_, value);
    if (values.size() != target.items.size()) {
      throw Failure("expected {} values to assign, found {}", target.items.size(), values.size());
    }
    for (size_t i = 0; i < values.size(); ++i) Assign(target.items[i], values[i]);
  } else if (target.field.empty()) {
    heap_.Work(1 + scope_->variables.size());
    scope_->Set(target.name, value);
  } else {
    const Value object = Compute(Name{target.name});
    Namespace* fields = object.AsNamespace();
    if (fields == nullptr) throw Failure("'{}' is no namespace", target.name);
    SetField(heap_, *fields, target.field, value);
  }
}

Interpreter::Flow Interpreter::Execute(const Set& node) {
  Assign(node.target, Evaluate(node.value));
  return Flow::kNext;
}

Value Interpreter::Capture(const Body& body, const Expression* filter) {
  const auto around = std::exchange(scope_, std::make_shared<Scope>(heap_, scope_));
  Buffer buffer(heap_);
  Buffer* const out = std::exchange(out_, &buffer);
  RunBody(body);
  out_ = out;
  Value text = heap_.MakeString(buffer.Finish());
  if (filter != nullptr) {
    block_text_ = std::move(text);
    text = Evaluate(*filter);
  }
  scope_ = around;
  return text;
}

Interpreter::Flow Interpreter::Execute(const SetBlock& node) {
  Assign(node.target, Capture(node.body, node.filter.get()));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::Execute(const FilterBlock& node) {
  out_->Append(Capture(node.body, node.filter.get()));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::Execute(const Scoped& node) {
  out_->Append(Capture(node.body, nullptr));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::Execute(const With& node) {
  auto scope = std::make_shared<Scope>(heap_, scope_);
  for (const auto& [target, expression] : node.values) {
    const Value value = Evaluate(expression);
    const auto around = std::exchange(scope_, scope);
    Assign(target, value);
    scope_ = around;
  }
  const auto around = std::exchange(scope_, std::move(scope));
  const Flow flow = RunBody(node.body);
  scope_ = around;
  return flow;
}

Interpreter::Flow Interpreter::Execute(const If& node) {
  for (const If::Branch& branch : node.branches) {
    if (IsTrue(Evaluate(branch.condition))) return RunBody(branch.body);
  }
  return RunBody(node.otherwise);
}

std::shared_ptr<Scope> Interpreter::CaptureScope() {
  if (captured_.empty() || captured_.back() != scope_) captured_.push_back(scope_);
  return scope_;
}

Interpreter::Flow Interpreter::Execute(const For& node) {
  const Value iterable = Evaluate(node.iterable);
  const bool needs_scope = node.condition != nullptr || node.recursive;
  RunLoop(node, iterable, needs_scope ? CaptureScope() : scope_, /*depth=*/1);
  return Flow::kNext;
}

void Interpreter::RunLoop(const For& node, const Value& iterable,
                          const std::shared_ptr<Scope>& scope, int depth) {
  const bool needs_scope = node.condition != nullptr || node.recursive;
  const auto loop = std::make_shared<Loop>(*this, node, Iterate(heap_, iterable),
                                           needs_scope ? scope : nullptr, depth);
  const auto around = scope_;
  bool any = false;
  while (loop->Advance()) {
    any = true;
    scope_ = std::make_shared<Scope>(heap_, scope);
    scope_->Set("loop", std::shared_ptr<NativeObject>(loop));
    Assign(node.target, loop->current());
    const Flow flow = RunBody(node.body);
    scope_ = around;
    if (flow == Flow::kBreak) break;
  }
  if (!any && !node.otherwise.empty()) {
    scope_ = std::make_shared<Scope>(heap_, scope);
    RunBody(node.otherwise);
    scope_ = around;
  }
}

Value Interpreter::MakeMacro(const Macro& macro) {
  return heap_.MakeCallable(macro.name,
                            [this, &macro, scope = CaptureScope()](Heap&, Arguments& arguments) {
                              return CallMacro(macro, scope, arguments);
                            });
}

Interpreter::Flow Interpreter::Execute(const Macro& node) {
  scope_->Set(node.name, MakeMacro(node));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::Execute(const CallBlock& node) {
  const Value caller = MakeMacro(node.caller);
  out_->Append(CallWith(std::get<Call>(node.call->node), &caller));
  return Flow::kNext;
}

Value Interpreter::CallMacro(const Macro& macro, const std::shared_ptr<Scope>& scope,
                             Arguments& arguments) {
  const Heap::Level level(heap_);
  const auto around = std::exchange(scope_, std::make_shared<Scope>(heap_, scope));
  Buffer buffer(heap_);
  Buffer* const out = std::exchange(out_, &buffer);
  BindParameters(macro, arguments);
  RunBody(macro.body);
  out_ = out;
  scope_ = around;
  return heap_.MakeString(buffer.Finish());
}

void Interpreter::BindParameters(const Macro& macro, Arguments& arguments) {
  const Signature& signature = macro.signature;
  const size_t first_default = signature.names.size() - signature.defaults.size();
  for (size_t i = 0; i < signature.names.size(); ++i) {
    const std::string& name = signature.names[i];
    std::optional<Value> value = arguments.Take(name);
    if (!value && i >= first_default) value = Evaluate(signature.defaults[i - first_default]);
    scope_->Set(name, value.value_or(Undefined{.name = &name, .problem = "is not given"}));
  }
  const auto is_parameter = [&](std::string_view name) {
    return std::ranges::find(signature.names, name) != signature.names.end();
  };
  if (macro.uses_caller && !is_parameter("caller")) {
    static const std::string kCaller = "caller";
    scope_->Set(kCaller, arguments.TakeKeyword(kCaller).value_or(Undefined{.name = &kCaller}));
  }
  if (macro.uses_kwargs && !is_parameter("kwargs")) {
    std::vector<std::pair<Value, Value>> items;
    for (auto& [name, value] : arguments.keywords)
      items.emplace_back(heap_.MakeString(name), value);
    scope_->Set("kwargs", heap_.MakeDict(std::move(items)));
    arguments.keywords.clear();
  }
  if (macro.uses_varargs && !is_parameter("varargs")) {
    std::vector<Value> rest;
    while (std::optional<Value> value = arguments.Take()) rest.push_back(*std::move(value));
    scope_->Set("varargs", heap_.MakeTuple(std::move(rest)));
  }
  arguments.Finish();
}

}  // namespace fptq::jinja
