#include "cli/manual.h"

#include <fmt/format.h>

#include <string_view>

#include "base/build.h"
#include "cli/arguments.h"

namespace fptq {
namespace {

// Text that troff takes as it is.
std::string Troff(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else if ((c == '.' || c == '\'') && result.empty()) {
      result += fmt::format("\\&{}", c);
    } else {
      result += c;
    }
  }
  return result;
}

// "-o, --output"; of a positional argument its name.
std::string Names(const CLI::Option& option) { return option.get_name(/*positional=*/true); }

std::string Names(const CLI::Option& option, std::string_view separator) {
  std::string names;
  const auto add = [&](const std::string& dashes, const std::string& name) {
    names += fmt::format("{}{}{}", names.empty() ? "" : separator, dashes, name);
  };
  for (const std::string& name : option.get_snames()) add("-", name);
  for (const std::string& name : option.get_lnames()) add("--", name);
  return names;
}

}  // namespace

std::string ManualPage(std::span<const Subcommand> subcommands) {
  std::string page = fmt::format(
      ".TH FPTQ 1 \"\" \"fptq {}\" \"User Commands\"\n.SH NAME\nfptq \\- W4A8 quantization of "
      "language models, and running them\n.SH SYNOPSIS\n.B fptq\n.I SUBCOMMAND\n[\\fIOPTIONS\\fR]\n"
      ".SH DESCRIPTION\n",
      Troff(kVersion));
  for (const Subcommand& subcommand : subcommands) {
    page += fmt::format(".TP\n.B {}\n{}\n", subcommand.name, Troff(subcommand.help));
  }
  for (const Subcommand& subcommand : subcommands) {
    VisitOptions(subcommand, [&](const CLI::App& app) {
      page += fmt::format(".SH FPTQ {}\n{}\n", subcommand.name, Troff(app.get_description()));
      for (const CLI::Option* option : app.get_options()) {
        const std::string names = Names(*option, ", ");
        const bool value = option->get_items_expected_max() > 0;
        page +=
            fmt::format(".TP\n\\fB{}\\fR{}\n{}\n", Troff(names.empty() ? Names(*option) : names),
                        value && !names.empty() ? " " + option->get_type_name() : "",
                        Troff(option->get_description()));
      }
    });
  }
  return page;
}

std::string BashCompletion(std::span<const Subcommand> subcommands) {
  std::string names, options;
  for (const Subcommand& subcommand : subcommands) {
    names += fmt::format("{}{}", names.empty() ? "" : " ", subcommand.name);
    VisitOptions(subcommand, [&](const CLI::App& app) {
      std::string words;
      for (const CLI::Option* option : app.get_options()) {
        const std::string option_names = Names(*option, " ");
        if (!option_names.empty()) words += (words.empty() ? "" : " ") + option_names;
      }
      options += fmt::format("    {}) words='{}' ;;\n", subcommand.name, words);
    });
  }
  return fmt::format(
      "# Completion of fptq's command line for bash; fptq --bash-completion printed it.\n"
      "_fptq() {{\n"
      "  local words='{} --help --version'\n"
      "  ((COMP_CWORD == 1)) || case ${{COMP_WORDS[1]}} in\n{}  esac\n"
      "  COMPREPLY=()\n"
      "  if ((COMP_CWORD == 1)) || [[ ${{COMP_WORDS[COMP_CWORD]}} == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n"
      "  fi\n"
      "}}\n"
      "complete -o default -F _fptq fptq\n",
      names, options);
}

}  // namespace fptq
