// libnvidia-ml.so.1 for tests, by the ABI of the real one: a GPU at 0000:3b:00.0 that takes 2.5 J
// from one look to the next, one at 0000:3c:00.0 without a counter, and no other.
#include <cstdlib>
#include <cstring>

namespace {

constexpr int success = 0, not_supported = 3, not_found = 6, driver_not_loaded = 9;

struct gpu {
  const char *pci_id;
  bool counts;
  unsigned long long millijoules;
};
gpu all[] = {{"0000:3b:00.0", true, 7'000}, {"0000:3c:00.0", false, 0}};
int open_count = 0;

}  // namespace

#define ENTRY extern "C" [[gnu::visibility("default")]]

ENTRY int nvmlInit_v2() {
  if (std::getenv("CUBBY_FAKE_NVML_FAILS") != nullptr) return driver_not_loaded;
  ++open_count;
  return success;
}
ENTRY int nvmlShutdown() {
  if (--open_count < 0) std::abort();
  return success;
}
ENTRY int nvmlDeviceGetHandleByPciBusId_v2(const char *pci_id, void **device) {
  for (gpu &one : all) {
    if (std::strcmp(one.pci_id, pci_id) != 0) continue;
    *device = &one;
    return success;
  }
  return not_found;
}
ENTRY int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  auto *const of = static_cast<gpu *>(device);
  if (open_count == 0 || !of->counts) return not_supported;
  *millijoules = of->millijoules += 2'500;
  return success;
}
ENTRY const char *nvmlErrorString(int status) {
  return status == not_supported ? "Not Supported"
         : status == not_found   ? "Not Found"
                                 : "Driver Not Loaded";
}
