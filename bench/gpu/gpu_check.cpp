// gpu_check conformance|lockers|kernels|slots|figures FOLDER: one part of what scripts/gpu_check.sh
// runs on a machine with a GPU. Writes PART.json to the folder, also where it does not come to its
// end. Exit status: 0 good, 1 something is wrong, 2 usage, 77 no GPU here.
#include <array>
#include <cstring>
#include <string>

#include "cli/conformance/suite.hpp"
#include "cuda/cuda.hpp"
#include "gpu.hpp"

namespace gpu {

void run_conformance(facts &out) {
  using namespace cubby_conformance;
  subject on;
  on.ops = read_table(*cubby_cuda_backend());
  on.patience_ns = 20'000'000'000;
  const outcome whole = check_table(cubby_cuda_backend());
  out.check("the table of operations is complete", whole.result == verdict::pass, whole.detail);
  for (const check &one : checks_for(on.ops.capabilities)) {
    const outcome came = run_here(on, one);
    if (came.result == verdict::skip) {
      out.text(one.name, "skipped: " + came.detail);
    } else {
      out.check(one.name, came.result == verdict::pass, came.detail);
    }
  }
}

}  // namespace gpu

int main(int argc, char **argv) {
  struct part {
    const char *name;
    void (*run)(gpu::facts &);
  };
  const std::array<part, 5> parts = {{{"conformance", gpu::run_conformance},
                                      {"lockers", gpu::run_lockers},
                                      {"kernels", gpu::run_kernels},
                                      {"slots", gpu::run_slots},
                                      {"figures", gpu::run_figures}}};
  for (const part &one : parts) {
    if (argc != 3 || std::strcmp(argv[1], one.name) != 0) continue;
    const cubby_cuda::loaded_driver &driver = cubby_cuda::machine_driver();
    if (!driver.why_not.empty()) {
      std::printf("no GPU: NOT_SUPPORTED, skipped: %s\n", driver.why_not.c_str());
      return 77;
    }
    gpu::facts out(argv[2], one.name);
    char name[128] = "?";
    driver.table.device_name(name, sizeof name, 0);
    out.text("device", name);
    one.run(out);
    return out.end();
  }
  std::fprintf(stderr, "usage: gpu_check conformance|lockers|kernels|slots|figures FOLDER\n");
  return 2;
}
