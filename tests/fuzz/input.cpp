#include "fuzz/checks.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "store/chunks.hpp"

namespace fuzz {
namespace {

void write_all(int fd, const void *data, size_t bytes) {
  const auto *at = static_cast<const char *>(data);
  while (bytes > 0) {
    const ssize_t put = ::write(fd, at, bytes);
    require(put > 0, "the input could not be written to a file");
    at += put;
    bytes -= static_cast<size_t>(put);
  }
}

}  // namespace

bool accepted = false;

void broken(const char *what) {
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

memory_file::memory_file(const void *data, size_t bytes) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
  require(fd_ >= 0, "no file in memory could be made");
  write_all(fd_, data, bytes);
}

memory_file::~memory_file() { close(fd_); }

std::string memory_file::path() const { return "/proc/self/fd/" + std::to_string(fd_); }

folder::folder() {
  std::error_code ignored;
  const std::filesystem::path shared = "/dev/shm";
  const bool in_memory = access(shared.c_str(), W_OK) == 0;
  std::string name =
      ((in_memory ? shared : std::filesystem::temp_directory_path()) / "cubby-fuzz-XXXXXX")
          .string();
  require(mkdtemp(name.data()) != nullptr, "no temporary folder could be made");
  path_ = name;
}

folder::~folder() {
  clear();
  rmdir(path_.c_str());
}

void folder::write(const std::string &name, std::string_view bytes) {
  const std::string at = path(name);
  FILE *file = fopen(at.c_str(), "wbe");
  require(file != nullptr, "a file of the input could not be made");
  const size_t put = bytes.empty() ? 0 : fwrite(bytes.data(), 1, bytes.size(), file);
  require(fclose(file) == 0 && put == bytes.size(), "a file of the input could not be written");
  names_.push_back(name);
}

void folder::clear() {
  for (const std::string &name : names_) unlink(path(name).c_str());
  names_.clear();
}

std::vector<std::string_view> split(std::string_view input) {
  constexpr std::string_view mark = "\n%%%\n";
  std::vector<std::string_view> pieces;
  for (;;) {
    const size_t end = input.find(mark);
    pieces.push_back(input.substr(0, end));
    if (end == std::string_view::npos) return pieces;
    input.remove_prefix(end + mark.size());
  }
}

void check_model(const cubby::store::model_file &model) {
  namespace store = cubby::store;
  accepted = true;
  require(!model.files.empty() && !model.banks.empty(), "an accepted model is empty");
  for (const store::model_bank &bank : model.banks) {
    require(bank.columns > 0 && !bank.rows.empty(), "an accepted bank has no lockers");
    require(!bank.part_names.empty(), "an accepted bank has no parts");
    const uint64_t count = bank.rows.size() * bank.columns;
    uint64_t bytes = 0;
    for (uint64_t number = 0; number < count; number++) {
      const uint64_t before = bytes;
      for (uint32_t part = 0; part < bank.part_names.size(); part++) {
        const store::part_place place = store::place_of(bank, number, part);
        require(place.file < model.files.size(), "a part lies in a file that is not there");
        const uint64_t end = model.files[place.file].bytes;
        require(place.offset_bytes <= end && place.bytes <= end - place.offset_bytes,
                "a part lies outside its file");
        bytes += place.bytes;
      }
      require(bytes > before, "a locker is empty");
    }
    uint64_t file_bytes = 0;
    for (const auto &file : model.files) file_bytes += file.bytes;
    require(bytes <= file_bytes, "lockers have more bytes than the files");
  }
}

void check_refusal(const cubby::error &failure) {
  require(failure.status < 0 || failure.status == CUBBY_MISS, "a refusal without an error status");
  require(!failure.text.empty(), "a refusal without words");
  for (const char c : failure.text)
    require(static_cast<unsigned char>(c) >= 0x20, "a refusal with control characters");
}

}  // namespace fuzz
