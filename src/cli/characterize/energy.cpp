#include "cli/characterize/energy.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace cubby_cli::characterize {
namespace {

std::optional<uint64_t> number_in(const std::filesystem::path &path) {
  std::ifstream in(path);
  uint64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;
}

/// "intel-rapl:0", not its parts "intel-rapl:0:1" nor another view of the same ("-mmio").
bool is_package(const std::string &name) {
  constexpr std::string_view begin = "intel-rapl:";
  return name.starts_with(begin) && name.find(':', begin.size()) == std::string::npos;
}

constexpr int nvml_not_supported = 3, nvml_not_found = 6;

}  // namespace

energy_counters::energy_counters(const std::string &root) {
  std::error_code failed;
  bool refused = false;
  for (const auto &one : std::filesystem::directory_iterator(root, failed)) {
    if (!is_package(one.path().filename().string())) continue;
    const auto now = number_in(one.path() / "energy_uj");
    const auto range = number_in(one.path() / "max_energy_range_uj");
    if (now && range) packages_.push_back({(one.path() / "energy_uj").string(), *now, *range});
    refused = refused || !now;
  }
  if (!packages_.empty()) return;
  why_ = refused ? "the energy counters in " + root +
                       " may be read by root alone; run as root, or chmod a+r "
                       "intel-rapl:*/energy_uj"
                 : "the kernel shows no energy counters (RAPL) in " + root +
                       "; virtual machines and containers have none, run on the machine itself";
}

std::optional<double> energy_counters::joules() {
  if (packages_.empty()) return std::nullopt;
  for (package &one : packages_) {
    const uint64_t now = number_in(one.path).value_or(one.last_uj);
    const uint64_t more = now >= one.last_uj
                              ? now - one.last_uj
                              : now + one.range_uj - std::min(one.range_uj, one.last_uj);
    joules_ += static_cast<double>(more) / 1e6;
    one.last_uj = now;
  }
  return joules_;
}

/// NVML's own, by its ABI: a status is an int, a device a pointer to what it does not show.
struct gpu_energy::entries {
  int (*init)();
  int (*shutdown)();
  int (*by_pci_id)(const char *pci_id, void **device);
  int (*energy)(void *device, unsigned long long *millijoules);
  const char *(*error_text)(int status);
};

gpu_energy::gpu_energy(const std::string &pci_id, const std::string &library) {
  if (!load(library) || !find(pci_id)) return;
  unsigned long long first = 0;
  if (!read(first)) device_ = nullptr;
}

gpu_energy::~gpu_energy() {
  if (calls_) calls_->shutdown();
  if (library_ != nullptr) ::dlclose(library_);
}

bool gpu_energy::load(const std::string &library) {
  library_ = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    why_ = "the NVIDIA driver's management library, " + library +
           ", is not there; install it, or give the container the utilities of the driver "
           "(NVIDIA_DRIVER_CAPABILITIES=compute,utility)";
    return false;
  }
  entries found = {};
  const auto bind = [&](auto &call, const char *name) {
    call = reinterpret_cast<std::remove_reference_t<decltype(call)>>(::dlsym(library_, name));
    if (call == nullptr && why_.empty())
      why_ = library + " has no " + name + "; install a newer NVIDIA driver";
  };
  bind(found.init, "nvmlInit_v2");
  bind(found.shutdown, "nvmlShutdown");
  bind(found.by_pci_id, "nvmlDeviceGetHandleByPciBusId_v2");
  bind(found.energy, "nvmlDeviceGetTotalEnergyConsumption");
  bind(found.error_text, "nvmlErrorString");
  if (!why_.empty()) return false;
  if (const int came = found.init(); came != 0) {
    why_ = std::string("NVML did not start (nvmlInit: ") + found.error_text(came) +
           "); look at nvidia-smi";
    return false;
  }
  calls_ = std::make_unique<entries>(found);
  return true;
}

bool gpu_energy::find(const std::string &pci_id) {
  const int came = calls_->by_pci_id(pci_id.c_str(), &device_);
  if (came == 0) return true;
  device_ = nullptr;
  why_ = "NVML does not show the GPU at " + pci_id + " (" + calls_->error_text(came) + ")" +
         (came == nvml_not_found ? "; give the container the whole GPU" : "; look at nvidia-smi");
  return false;
}

bool gpu_energy::read(unsigned long long &millijoules) {
  const int came = calls_->energy(device_, &millijoules);
  if (came == 0) return true;
  why_ = std::string("NVML gives no energy of this GPU (") + calls_->error_text(came) + ")" +
         (came == nvml_not_supported ? "; those before Volta, and parts of one (MIG), have no such "
                                       "counter"
                                     : "; look at nvidia-smi");
  return false;
}

/// Once it fails it says why, and what was measured without it has no joules.
std::optional<double> gpu_energy::joules() {
  unsigned long long now = 0;
  if (device_ == nullptr || !read(now)) return std::nullopt;
  return static_cast<double>(now) / 1e3;
}

}  // namespace cubby_cli::characterize
