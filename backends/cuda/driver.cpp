#include "driver.hpp"

#include <dlfcn.h>

#include <cstring>

namespace cubby_cuda {
namespace {

std::string said_by_loader() {
  const char *said = ::dlerror();
  return said == nullptr ? "no reason was given" : said;
}

std::string initialisation_failed(const driver_table &table, status came) {
  const char *name = nullptr;
  if (table.error_name(came, &name) != success || name == nullptr) name = "an unknown error";
  const char *remedy =
      came == no_device ? "no GPU is visible: look at CUDA_VISIBLE_DEVICES, and give the container "
                          "the device (--gpus)"
      : came == stub_library
          ? "the toolkit's stub was found in place of the driver; take its folder out of "
            "LD_LIBRARY_PATH"
      : came == system_driver_mismatch
          ? "the library is not of the kernel module's version; restart the machine after a driver "
            "update, or mount the host's library into the container"
      : came == system_not_ready ? "start nvidia-fabricmanager"
                                 : "look at nvidia-smi and at the kernel's log";
  return std::string("the CUDA driver did not start (cuInit: ") + name + "); " + remedy;
}

}  // namespace

loaded_driver load_driver(const char *library) {
  loaded_driver out;
  // Local: its names stay out of the program's way.
  void *const lib = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (lib == nullptr) {
    out.why_not = "the CUDA driver is not installed (" + said_by_loader() +
                  "); install the NVIDIA driver, or give the container the GPU (--gpus); the tiers "
                  "of host memory and files need none of it";
    return out;
  }
  std::array<void *, entries.size() + optional_entries.size()> found{};
  for (size_t i = 0; i < entries.size(); ++i) {
    found[i] = ::dlsym(lib, entries[i]);
    if (found[i] != nullptr) continue;
    out.why_not = std::string("the CUDA driver has no ") + entries[i] +
                  ", so it is older than CUDA 11.3; install a newer one";
    ::dlclose(lib);
    return out;
  }
  for (size_t i = 0; i < optional_entries.size(); ++i) {
    found[entries.size() + i] = ::dlsym(lib, optional_entries[i]);
  }
  std::memcpy(&out.table, found.data(), sizeof out.table);
  const status started = out.table.init(0);
  if (started != success) out.why_not = initialisation_failed(out.table, started);
  return out;
}

bool is_captured(const driver_table &driver, stream one) {
  int capture = capture_none;
  const status seen = driver.stream_is_capturing(one, &capture);
  return seen == capture_implicit || (seen == success && capture != capture_none);
}

const loaded_driver &machine_driver() {
  static const loaded_driver driver = load_driver("libcuda.so.1");
  return driver;
}

}  // namespace cubby_cuda
