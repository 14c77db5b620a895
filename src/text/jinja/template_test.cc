#include "text/jinja/template.h"

#include <gtest/gtest.h>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "files/json_file.h"

namespace fptq::jinja {
namespace {

std::tm Noon() {
  std::tm now{};
  now.tm_year = 124;
  now.tm_mon = 6;
  now.tm_mday = 26;
  now.tm_hour = 9;
  now.tm_min = 5;
  now.tm_sec = 3;
  now.tm_wday = 5;
  now.tm_yday = 207;
  return now;
}

std::string Render(std::string_view source, const Json& variables = Json::object(),
                   const Limits& limits = {}) {
  const Template parsed = Template::Parse(source, "test");
  const auto make = [&](Heap& heap) {
    Template::Variables result;
    for (const auto& [name, value] : variables.items()) {
      result.emplace_back(name, heap.FromJson(value, Origin::kUser));
    }
    return result;
  };
  return ToUtf8(parsed.Render(make, {.limits = limits, .now = Noon()}));
}

// Expected by scripts/golden/jinja_goldens.py from transformers: the same text, or an error in
// both.
TEST(JinjaTemplate, RendersAsTransformersDoes) {
  const Json cases = ReadJsonFile(std::filesystem::path(kTestdata) / "jinja/goldens.json");
  ASSERT_GT(cases.size(), 200u);
  for (const Json& test : cases) {
    const std::string source = test[0].get<std::string>();
    std::optional<std::string> output;
    std::string error;
    try {
      output = Render(source, test[1]);
    } catch (const Error& e) {
      error = e.what();
    }
    if (test[2].is_null()) {
      EXPECT_FALSE(output) << source << "\nfound: " << *output;
    } else {
      EXPECT_TRUE(output) << source << "\nerror: " << error;
      EXPECT_EQ(output.value_or(""), test[2].get<std::string>()) << source;
    }
  }
}

// Text of users, as "[...]", in the text of the template.
std::string Marked(const Text& text) {
  std::string out;
  bool user = false;
  for (const char32_t c : text) {
    if ((OriginOf(c) != Origin::kTemplate) != user) out += user ? ']' : '[';
    user = OriginOf(c) != Origin::kTemplate;
    AppendUtf8(c, out);
  }
  return user ? out + "]" : out;
}

TEST(JinjaTemplate, CharactersKeepTheirOrigin) {
  const std::pair<const char*, const char*> cases[] = {
      {"<{{ u }}>", "<[Us er]>"},
      {"{{ '<' + u + '>' }}{{ '<' ~ u ~ '>' }}", "<[Us er]><[Us er]>"},
      {"{{ (' ' ~ u ~ ' ')|trim }}{{ u[1:3] }}{{ u[::-1] }}", "[Us ers re sU]"},
      {"{{ u|upper }}-{{ u.lower() }}-{{ u|title }}-{{ u.swapcase() }}",
       "[US ER]-[us er]-[Us Er]-[uS ER]"},
      {"{{ u|replace('s', '+') }}", "[U]+[ er]"},
      {"{{ 'a+b'|replace('+', u) }}", "a[Us er]b"},
      {"{{ u.split()|join('+') }}", "[Us]+[er]"},
      {"{{ '-'.join([u, 'x', u]) }}", "[Us er]-x-[Us er]"},
      {"{{ '%s|%5s' % ('t', u) }}", "t|[Us er]"},
      {"{{ '{}{:>7}'.format('t', u) }}", "t  [Us er]"},
      {"{{ [u]|tojson }}{{ {u: 1}|tojson }}", "[\"[Us er]\"]{\"[Us er]\": 1}"},
      {"{{ [u, 't'] }}", "['[Us er]', 't']"},
      {"{{ n|tojson }}{{ n.k }}{% for k in n %}{{ k }}{% endfor %}",
       "{\"[k]\": \"[v\\\"]\"}[v\"k]"},
      {"{% set x %}<{{ u }}>{% endset %}{{ x }}{% filter upper %}a{{ u }}{% endfilter %}",
       "<[Us er]>A[US ER]"},
      {"{% macro m(a) %}({{ a }}){% endmacro %}{{ m(u) }}", "([Us er])"},
      {"{% for c in u %}{{ c }}.{% endfor %}", "[U].[s].[ ].[e].[r]."},
      {"{{ 'a\nb'|indent(u) }}{{ u|indent }}", "a\n[Us er]b[Us er]"},
      {"{{ u * 2 }}{{ u|list|first }}{{ u|last }}{{ u|default('x') }}", "[Us erUs erUrUs er]"},
      {"{{ u == 'Us er' }}{{ {'Us er': 'yes'}[u] }}{{ 's' in u }}", "TrueyesTrue"},
      {"{{ u|e }}{{ '<'|e }}", "[Us er]&lt;"},
  };
  for (const auto& [source, expected] : cases) {
    const auto make = [&](Heap& heap) {
      return Template::Variables{{"u", heap.FromJson("Us er", Origin::kUser)},
                                 {"n", heap.FromJson({{"k", "v\""}}, Origin::kUser)}};
    };
    EXPECT_EQ(Marked(Template::Parse(source, "test").Render(make, {})), expected) << source;
  }
}

TEST(JinjaTemplate, ErrorsSayWhere) {
  EXPECT_ERROR("test: line 2: ", Render("a\n{{ x.y }}\nb"));
  EXPECT_ERROR("'x' is undefined", Render("{{ x.y }}"));
  EXPECT_ERROR("test: line 3: ", Render("a\n\n{% if %}"));
  EXPECT_ERROR("refuses this: no  system", Render("{{ raise_exception('no\\n system') }}"));
  EXPECT_ERROR("'include' is not supported", Render("{% include 'x' %}"));
  EXPECT_ERROR("no filter 'nope'", Render("{{ 1|nope }}"));
  EXPECT_ERROR("beyond 64 bits", Render("{{ 9223372036854775807 + 1 }}"));
  EXPECT_ERROR("beyond 64 bits", Render("{{ 2 ** 64 }}"));
}

// Each of these would take hours, gigabytes or the whole stack.
TEST(JinjaTemplate, IsBounded) {
  const std::string forever =
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
  EXPECT_ERROR("steps", Render(forever));
  EXPECT_ERROR("range: more than", Render("{{ range(10 ** 18) }}"));
  EXPECT_ERROR("repeated", Render("{{ 'abc' * 10 ** 12 }}"));
  EXPECT_ERROR("memory", Render("{{ 'abcdefgh' * 10 ** 8 }}"));
  EXPECT_ERROR("memory", Render("{{ '%1000000000d' % 1 }}"));
  EXPECT_ERROR("memory", Render("{{ '{:1000000000}'.format(1) }}"));
  EXPECT_ERROR("memory", Render("{{ 'x'.center(10 ** 12) }}"));
  const std::string doubling =
      "{% set ns = namespace(x=START) %}{% for i in range(100) %}"
      "{% set ns.x = NEXT %}{% endfor %}{{ ns.x }}";
  const auto doubled = [&](std::string_view start, std::string_view next) {
    std::string source = doubling;
    source.replace(source.find("START"), 5, start);
    source.replace(source.find("NEXT"), 4, next);
    return ErrorOf([&] { Render(source); });
  };
  EXPECT_NE(doubled("'ab'", "ns.x + ns.x"), "");
  EXPECT_NE(doubled("'ab'", "ns.x|replace('a', 'aa')"), "");
  EXPECT_NE(doubled("'ab'", "ns.x|tojson|tojson|tojson|tojson"), "");
  EXPECT_NE(doubled("[1]", "ns.x + ns.x"), "");
  EXPECT_NE(doubled("[1]", "[ns.x, ns.x]"), "");
  EXPECT_ERROR("nests deeper", Render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"));
  EXPECT_ERROR("nest deeper", Render(fmt::format("{{{{ {}1{} }}}}", std::string(5000, '('),
                                                 std::string(5000, ')'))));
  std::string chain = "{{ 1";
  for (int i = 0; i < 5000; ++i) chain += " + 1";
  EXPECT_ERROR("nest deeper", Render(chain + " }}"));
  std::string blocks;
  for (int i = 0; i < 5000; ++i) blocks += "{% if 1 %}";
  EXPECT_ERROR("nest deeper", Render(blocks));
  EXPECT_ERROR("at most", Render(std::string(2 << 20, 'x')));
}

// What refers to itself, or to what refers to what refers ..., must be freed without a leak (the
// sanitizers see it) and without recursion.
TEST(JinjaTemplate, FreesCirclesAndChains) {
  const char* const kLong = "{% set ns = namespace(x=none) %}{% for i in range(20000) %}";
  EXPECT_EQ(Render("{% set ns = namespace() %}{% set ns.x = [ns] %}{% set ns.y = ns %}ok"), "ok");
  EXPECT_EQ(Render("{% macro m() %}{{ m }}{% endmacro %}{% set ns = namespace(x=m) %}ok"), "ok");
  EXPECT_EQ(Render("{% for x in [1, 2] %}{% set a = loop.changed(loop) %}{% endfor %}ok"), "ok");
  const auto chain = [&](const std::string& body) {
    return ErrorOf([&] { Render(kLong + body + "{% endfor %}"); });
  };
  EXPECT_EQ(chain("{% set n = namespace(x=ns.x) %}{% set ns.x = n %}"), "");
  EXPECT_NE(chain("{% set ns.x = [ns.x] %}").find("nests deeper"), std::string::npos);
  EXPECT_NE(chain("{% set ns.x = [ns.x].index %}").find("nests deeper"), std::string::npos);
  EXPECT_NE(chain("{% set ns.x = cycler(ns.x) %}").find("nests deeper"), std::string::npos);
  EXPECT_NE(chain("{% for y in [ns.x] %}{% set ns.x = loop %}{% endfor %}").find("nests deeper"),
            std::string::npos);
  EXPECT_EQ(chain("{% set old = ns.x %}{% macro m() %}{{ old }}{% endmacro %}{% set ns.x = m %}"),
            "");
  EXPECT_EQ(chain("{% for y in [1] %}{% set a = loop.changed(ns.x) %}{% set ns.x = loop %}"
                  "{% endfor %}"),
            "");
}

}  // namespace
}  // namespace fptq::jinja
