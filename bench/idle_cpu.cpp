// What an open runtime with its own thread costs while nobody asks it for anything.
#include <cstdlib>
#include <ctime>
#include <thread>

#include "resident.hpp"

namespace {

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

}  // namespace

int main(int argc, char **argv) {
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 10;
  if (seconds < 1 || seconds > 3600) {
    std::fprintf(stderr, "usage: idle_cpu [SECONDS], 1 to 3600\n");
    return 2;
  }
  const resident runtime;
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::seconds(seconds));
  std::printf("an idle runtime of 64 resident lockers: %.4f %% of a core over %d s\n",
              (cpu_seconds() - before) / seconds * 100, seconds);
  return 0;
}
