# cmake -D FILE=FILE -D HEADER=HEADER -D FUNCTION=NAME [-D POLICY=NAME] -D OUTPUT=FILE.cc -P embed.cmake: writes a C++ file
# with the function fptq::NAME of HEADER, which gives the content of FILE. With POLICY the file is a page: styles and scripts
# that it names, <link rel="stylesheet" href="NAME"> and <script src="NAME"></script>, are put in their place, and the function
# POLICY gives the Content-Security-Policy that allows each of them by its SHA-256 and nothing else.
cmake_minimum_required(VERSION 3.25)

# The SHA-256 of a text, in base64: 32 bytes are ten times three, which are four digits of 6 bits each, and two.
function(base64_sha256 text out)
  set(digits "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  string(SHA256 hex "${text}")
  string(APPEND hex "00")
  set(result "")
  foreach(start RANGE 0 60 6)
    string(SUBSTRING "${hex}" ${start} 6 bytes)
    math(EXPR number "0x${bytes}")
    foreach(shift 18 12 6 0)
      math(EXPR digit "(${number} >> ${shift}) & 63")
      string(SUBSTRING "${digits}" ${digit} 1 digit)
      string(APPEND result "${digit}")
    endforeach()
  endforeach()
  string(SUBSTRING "${result}" 0 43 result)  # The last digit is of the byte that was added.
  set(${out} "${result}=" PARENT_SCOPE)
endfunction()

# Replaces each `before`NAME`after` of `text` by the file between the tags; `hashes` gets the sources that the policy allows.
function(inline before after open close hashes)
  get_filename_component(folder "${FILE}" DIRECTORY)
  set(allowed "")
  while(TRUE)
    string(FIND "${text}" "${before}" start)
    if(start EQUAL -1)
      break()
    endif()
    string(SUBSTRING "${text}" 0 ${start} head)
    string(LENGTH "${before}" length)
    math(EXPR start "${start} + ${length}")
    string(SUBSTRING "${text}" ${start} -1 text)
    string(FIND "${text}" "${after}" end)
    string(SUBSTRING "${text}" 0 ${end} name)
    string(LENGTH "${after}" length)
    math(EXPR end "${end} + ${length}")
    string(SUBSTRING "${text}" ${end} -1 text)
    file(READ "${folder}/${name}" content)
    foreach(mark "${close}" "<!--")
      string(FIND "${content}" "${mark}" inner)
      if(NOT inner EQUAL -1)
        message(FATAL_ERROR "${name}: '${mark}' would change the element that it is put into")
      endif()
    endforeach()
    set(content "\n${content}")
    base64_sha256("${content}" hash)
    string(APPEND allowed " 'sha256-${hash}'")
    set(text "${head}${open}${content}${close}${text}")
  endwhile()
  set(text "${text}" PARENT_SCOPE)
  set(${hashes} "${allowed}" PARENT_SCOPE)
endfunction()

file(READ "${FILE}" text)
set(policy_function "")
if(POLICY)
  inline("<link rel=\"stylesheet\" href=\"" "\">" "<style>" "</style>" styles)
  inline("<script src=\"" "\"></script>" "<script>" "</script>" scripts)
  set(policy_function "
std::string_view fptq::${POLICY}() {
  return \"default-src 'none'; script-src${scripts}; style-src${styles}; img-src data:; connect-src 'self'; \"
    \"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\";
}
")
endif()

string(HEX "${text}" bytes)
string(REGEX REPLACE "(................................)" "\\1\n  " bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE "${OUTPUT}" "#include \"${HEADER}\"

namespace {
constexpr char kContent[] = {
  ${bytes}};
}  // namespace

std::string_view fptq::${FUNCTION}() { return {kContent, sizeof(kContent)}; }
${policy_function}")
