#include "text/prefix.h"

#include <string>

#include "base/error.h"
#include "base/json.h"

namespace fptq {
namespace {

int32_t ParseTokenId(const Json& id, const std::string& where) {
  const Json object = {{"id", id}};
  return static_cast<int32_t>(JsonFields(object, where).Int("id", 0, kMaxTokenIds - 1));
}

// The ids that a TemplateProcessing has before the text.
std::vector<int32_t> ParseTemplate(const JsonFields& processor) {
  std::vector<int32_t> before;
  int sequences = 0;
  for (const Json& entry : processor.Array("single")) {
    const JsonFields piece(entry, processor.where() + ": single");
    if (piece.Has("Sequence")) {
      ++sequences;
      continue;
    }
    const JsonFields special(piece.Object("SpecialToken"), piece.where());
    if (sequences > 0) continue;
    const std::string name = special.String("id");
    const JsonFields tokens(processor.Object("special_tokens"), processor.where());
    const JsonFields token(tokens.Object(name), processor.where() + ": " + name);
    for (const Json& id : token.Array("ids")) before.push_back(ParseTokenId(id, token.where()));
  }
  if (sequences != 1) {
    throw Error("{}: expected the text once in the template, found it {} times", processor.where(),
                sequences);
  }
  return before;
}

// The "cls" of a BertProcessing or RobertaProcessing: ["<s>", 0].
int32_t ParseCls(const JsonFields& processor) {
  const Json& cls = processor.Array("cls");
  if (cls.size() != 2) {
    throw Error("{}: cls: expected a token and its id, found {} values", processor.where(),
                cls.size());
  }
  return ParseTokenId(cls[1], processor.where() + ": cls");
}

// Puts what a "post_processor" has before a text before `prefix`: each member of a sequence goes
// around what those before it made.
void AddPrefix(const Json& spec, const std::string& where, std::vector<int32_t>& prefix) {
  const JsonFields fields(spec, where);
  const std::string type = fields.String("type");
  if (type == "Sequence") {
    for (const Json& member : fields.Array("processors")) AddPrefix(member, where, prefix);
  } else if (type == "TemplateProcessing") {
    const std::vector<int32_t> before = ParseTemplate(fields);
    prefix.insert(prefix.begin(), before.begin(), before.end());
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    prefix.insert(prefix.begin(), ParseCls(fields));
  } else if (type != "ByteLevel") {  // ByteLevel trims offsets, which we do not report
    throw Error("{}: '{}' is not supported", where, type);
  }
}

// The classes that make their post-processor by `add_bos_token`, and what they take for BOS if the
// config names none.
struct BosClass {
  std::string_view name;  // with or without "Fast" behind it
  std::string_view bos;
};
constexpr BosClass kBosClasses[] = {{"LlamaTokenizer", "<s>"},
                                    {"CodeLlamaTokenizer", "<s>"},
                                    {"GemmaTokenizer", "<bos>"},
                                    {"CohereTokenizer", "<BOS_TOKEN>"},
                                    {"GPTNeoXTokenizer", "<|endoftext|>"}};

const BosClass* FindBosClass(std::string_view name) {
  constexpr std::string_view kFast = "Fast";
  if (name.ends_with(kFast)) name.remove_suffix(kFast.size());
  for (const BosClass& row : kBosClasses) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace

std::vector<int32_t> ParsePrefix(const TokenizerFiles& files,
                                 FunctionRef<std::optional<int32_t>(std::string_view)> id_of) {
  const JsonFields tokenizer(files.tokenizer, files.where + ": tokenizer.json");
  std::vector<int32_t> prefix;
  if (tokenizer.Has("post_processor")) {
    AddPrefix(tokenizer.Object("post_processor"), tokenizer.where() + ": post_processor", prefix);
  }
  const JsonFields config(files.tokenizer_config, files.where + ": tokenizer_config.json");
  const BosClass* row = FindBosClass(config.StringOr("tokenizer_class", ""));
  if (row == nullptr || !config.Has("add_bos_token")) return prefix;
  if (!config.BoolOr("add_bos_token", false)) return {};
  const std::string named = NamedToken(files, "bos_token");
  const std::string_view bos = named.empty() ? row->bos : named;
  const std::optional<int32_t> id = id_of(bos);
  if (!id) throw Error("{}: add_bos_token: '{}' is not in the vocabulary", config.where(), bos);
  return {*id};
}

}  // namespace fptq
