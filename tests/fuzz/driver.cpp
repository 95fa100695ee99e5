// Runs a fuzz target over stored inputs, for compilers without libFuzzer and for the ordinary
// tests. Arguments are files and folders; no input at all is a failure, and so is one called
// valid… of which nothing is accepted.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/input.hpp"

int main(int argc, char **argv) {
  std::vector<std::filesystem::path> inputs;
  for (int i = 1; i < argc; i++) {
    std::error_code failure;
    if (!std::filesystem::is_directory(argv[i], failure)) {
      inputs.emplace_back(argv[i]);
      continue;
    }
    for (const auto &entry : std::filesystem::directory_iterator(argv[i], failure))
      inputs.push_back(entry.path());
  }
  std::sort(inputs.begin(), inputs.end());
  for (const auto &path : inputs) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      fprintf(stderr, "fuzz: %s cannot be read\n", path.c_str());
      return 1;
    }
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    printf("%s, %zu bytes\n", path.filename().c_str(), bytes.size());
    fflush(stdout);  // the last line names the input that ended the process
    fuzz::accepted = false;
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
    if (path.filename().string().starts_with("valid") && !fuzz::accepted) {
      fprintf(stderr, "fuzz: %s is valid and was refused\n", path.c_str());
      return 1;
    }
  }
  if (inputs.empty()) fprintf(stderr, "fuzz: there are no inputs; name files or folders\n");
  return inputs.empty() ? 1 : 0;
}
