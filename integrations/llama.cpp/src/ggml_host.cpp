#include "ggml_host.hpp"

#include <dlfcn.h>

#include <string>

#include "settings.hpp"

namespace cubby_ggml {
namespace {

/// Of the struct before each tensor of a context, which ggml shows nobody.
constexpr size_t object_bytes = 32;

/// What a version string is compared by: "0.25.3-dirty" has the structs of "0.25.3".
std::string plain_version(const char *text) {
  const std::string whole = text == nullptr ? "" : text;
  return whole.substr(0, whole.find('-'));
}

/// The library that the address lies in, or the program itself.
void *library_of(const void *address) {
  Dl_info info = {};
  if (dladdr(address, &info) != 0 && info.dli_fname != nullptr)
    if (void *found = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD)) return found;
  return dlopen(nullptr, RTLD_LAZY);
}

template <class Function>
bool look_up(void *library, const char *name, Function &out) {
  out = reinterpret_cast<Function>(dlsym(library, name));
  return out != nullptr;
}

}  // namespace

bool ggml_host::find(const void *caller) {
  void *library = library_of(caller);
  decltype(&ggml_version) version = nullptr;
  decltype(&ggml_tensor_overhead) overhead = nullptr;
  if (!look_up(library, "ggml_version", version) ||
      !look_up(library, "ggml_tensor_overhead", overhead) ||
      !look_up(library, "ggml_backend_dev_by_type", device_by_type_) ||
      !look_up(library, "ggml_backend_buffer_init", buffer_init_)) {
    say("the program shows none of ggml's functions (is it linked statically?), so its version is "
        "unknown; experts stay with llama.cpp. A build with shared libraries has them");
    return false;
  }
  reads_gguf_ = look_up(library, "gguf_init_from_file", gguf_.open) &&
                look_up(library, "gguf_free", gguf_.close) &&
                look_up(library, "gguf_find_tensor", gguf_.find) &&
                look_up(library, "gguf_get_tensor_type", gguf_.type) &&
                look_up(library, "gguf_get_tensor_size", gguf_.bytes) &&
                look_up(library, "gguf_get_tensor_offset", gguf_.offset_bytes) &&
                look_up(library, "gguf_get_data_offset", gguf_.data_offset_bytes);
  const std::string theirs = plain_version(version());
  // Between two releases ggml may change a struct and keep its number.
  const bool same_structs = overhead() == object_bytes + sizeof(ggml_tensor);
  if (theirs == CUBBY_GGML_VERSION && same_structs) return true;
  if (theirs == CUBBY_GGML_VERSION) {
    say("this ggml " + theirs +
        " has tensors of another size than the one that the adapter was "
        "built for; experts stay with llama.cpp. Build it again with -DCUBBY_WITH_GGML=<its "
        "sources>");
    return false;
  }
  say("this is ggml " + theirs +
      ", the adapter was built for " CUBBY_GGML_VERSION
      "; experts stay with llama.cpp. Build it again with -DCUBBY_WITH_GGML=<ggml " +
      theirs + ">");
  return false;
}

ggml_backend_dev_t ggml_host::cpu_device() const {
  return device_by_type_(GGML_BACKEND_DEVICE_TYPE_CPU);
}

ggml_backend_t ggml_host::make_cpu_backend() const {
  ggml_backend_dev_t device = cpu_device();
  return device == nullptr ? nullptr : device->iface.init_backend(device, nullptr);
}

void *ggml_host::cpu_function(const char *name) const {
  ggml_backend_dev_t device = cpu_device();
  if (device == nullptr || device->reg->iface.get_proc_address == nullptr) return nullptr;
  return device->reg->iface.get_proc_address(device->reg, name);
}

ggml_host::gguf_file ggml_host::open_gguf(const std::string &path) const {
  gguf_context *opened =
      reads_gguf_ ? gguf_.open(path.c_str(), {.no_alloc = true, .ctx = nullptr}) : nullptr;
  return {opened, gguf_.close};
}

std::optional<ggml_host::stored_tensor> ggml_host::find_in(const gguf_context &file,
                                                           const std::string &name) const {
  const int64_t at = gguf_.find(&file, name.c_str());
  if (at < 0) return std::nullopt;
  return stored_tensor{gguf_.type(&file, at),
                       gguf_.data_offset_bytes(&file) + gguf_.offset_bytes(&file, at),
                       gguf_.bytes(&file, at)};
}

ggml_host &host() {
  static ggml_host one;
  return one;
}

}  // namespace cubby_ggml
