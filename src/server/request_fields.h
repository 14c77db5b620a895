// What the requests of completions and of chats have in common.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/api.h"

namespace fptq {

// The fields that both know: those that are read, those that change nothing here, and those that
// would change the answer and are refused.
std::span<const KnownField> CommonFields();

void ReadCommonFields(const BodyFields& fields, const ApiContext& context, uint64_t random_seed,
                      AnswerCall& call);

// Tokens of `array`, which `name` calls so in errors. Error 400 if one is not the model's.
std::vector<int32_t> ReadTokens(const Json& array, std::string_view name,
                                const ApiContext& context);

// Error 400 if `list` has more than `most` values.
void CheckLength(const Json& list, std::string_view name, size_t most);

// Error 400 with both numbers if a prompt does not fit the context, or is empty.
void CheckPrompt(std::span<const int32_t> prompt, std::string_view name, const ApiContext& context);

// The conversation of a chat's body: its messages, tools and what else the template reads.
Conversation ReadConversation(const BodyFields& fields);
std::span<const KnownField> ConversationFields();

// Its tokens. Error 422 if the model cannot chat, 400 if the template refuses it.
std::vector<int32_t> EncodeConversation(const Conversation& conversation,
                                        const ApiContext& context);

}  // namespace fptq
