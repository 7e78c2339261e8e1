// NVRTC's part of fake-cuda.h: g++ compiles the source behind emulator.h into a shared library, which passes as a cubin.
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>
#include "fake-cuda.h"

namespace {

struct Program {
  std::string source, name, log, cubin;
  std::vector<std::pair<std::string, std::string>> headers;  // name, text
};

std::string contentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void writeFile(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string quoted(const std::string& text) { return "'" + std::regex_replace(text, std::regex("'"), "'\\''") + "'"; }

// What a launch needs to know of each kernel of a preprocessed source.
std::string entriesOf(const std::string& source) {
  // What `__global__` of emulator.h stands for.
  const std::regex kernel(R"re(extern\s+"C"\s+__attribute__\(\(visibility\("default"\), used\)\)\s+void\s+(\w+)\s*\()re");
  std::string entries;
  for (std::sregex_iterator found(source.begin(), source.end(), kernel), end; found != end; ++found) {
    const std::string name = (*found)[1];
    entries += "extern \"C\" __attribute__((visibility(\"default\"))) void " + name +
               "_emulated(void** values) { emulator::invoke(&" + name + ", values); }\n" +
               "extern \"C\" __attribute__((visibility(\"default\"))) std::vector<int> " + name + "_sizes;\n" +
               "std::vector<int> " + name + "_sizes = emulator::sizesOf(&" + name + ");\n";
  }
  return entries + "extern \"C\" __attribute__((visibility(\"default\"))) int emulated_launch(void (*kernel)(void**), "
                   "void** values, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared) "
                   "{ return emulator::launch(kernel, values, {gx, gy, gz}, {bx, by, bz}, shared); }\n";
}

int runLogged(const std::string& command, const std::string& log) { return system((command + " 2>> " + quoted(log)).c_str()); }

// The options that g++ shares with NVRTC.
std::string sharedOptions(int count, const char* const* options) {
  std::string words;
  for (int i = 0; i < count; ++i) {
    const std::string option = options[i];
    if (option == "-D" || option == "-I") {
      words += " " + option + (i + 1 < count ? quoted(options[++i]) : "");
    } else if (option.rfind("-D", 0) == 0 || option.rfind("-I", 0) == 0) {
      words += " " + quoted(option);
    } else if (option.rfind("--define-macro=", 0) == 0) {
      words += " -D" + quoted(option.substr(15));
    } else if (option.rfind("--include-path=", 0) == 0) {
      words += " -I" + quoted(option.substr(15));
    }
  }
  return words;
}

}  // namespace

OFFERED int nvrtcVersion(int* major, int* minor) { return *major = 12, *minor = EMULATOR_VERSION, 0; }
OFFERED const char* nvrtcGetErrorString(int status) {
  return status == 0 ? "NVRTC_SUCCESS" : status == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_INTERNAL_ERROR";
}
OFFERED int nvrtcCreateProgram(void** out, const char* source, const char* name, int count, const char* const* headers,
                               const char* const* includeNames) {
  Program* program = new Program{source, name ? name : "default_program", "", "", {}};
  for (int i = 0; i < count; ++i) program->headers.push_back({includeNames[i], headers[i]});
  *out = program;
  return 0;
}
OFFERED int nvrtcCompileProgram(void* handle, int count, const char* const* options) {
  Program& program = *static_cast<Program*>(handle);
  char folderName[] = "/tmp/emulated-nvrtc-XXXXXX";
  if (!mkdtemp(folderName)) return 11;
  const std::string folder = folderName;
  const char* named = getenv("CXX");
  const std::string compiler = named && *named ? named : "g++";
  const std::string common = quoted(compiler) + " -std=c++17 -O1 -fPIC -w -fvisibility=hidden -fno-gnu-unique";
  for (const auto& [name, text] : program.headers) writeFile(folder + "/" + name, text);
  writeFile(folder + "/source.cpp", "#line 1 \"" + program.name + "\"\n" + program.source);
  int failed = runLogged(common + sharedOptions(count, options) + " -I" + folder + " -include '" EMULATOR_HEADER "' -E " + folder +
                             "/source.cpp -o " + folder + "/plain.ii",
                         folder + "/log");
  if (!failed) {
    const std::string source = contentOf(folder + "/plain.ii");
    writeFile(folder + "/plain.ii", source + "\n" + entriesOf(source));
    failed = runLogged(common + " -shared " + folder + "/plain.ii -o " + folder + "/module.so", folder + "/log");
  }
  program.log = contentOf(folder + "/log");
  if (!failed) program.cubin = contentOf(folder + "/module.so");
  failed |= system(("rm -rf " + quoted(folder)).c_str());
  return failed ? 6 : 0;
}
OFFERED int nvrtcDestroyProgram(void** handle) { return delete static_cast<Program*>(*handle), *handle = nullptr, 0; }
OFFERED int nvrtcGetProgramLogSize(void* handle, size_t* bytes) {
  return *bytes = static_cast<Program*>(handle)->log.size() + 1, 0;
}
OFFERED int nvrtcGetProgramLog(void* handle, char* log) {
  const std::string& text = static_cast<Program*>(handle)->log;
  return memcpy(log, text.c_str(), text.size() + 1), 0;
}
OFFERED int nvrtcGetCUBINSize(void* handle, size_t* bytes) { return *bytes = static_cast<Program*>(handle)->cubin.size(), 0; }
OFFERED int nvrtcGetCUBIN(void* handle, char* cubin) {
  const std::string& code = static_cast<Program*>(handle)->cubin;
  return memcpy(cubin, code.data(), code.size()), 0;
}
