#include "cli/work_folder.hpp"

#include <pthread.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

namespace cubby_cli {
namespace {

constexpr int asks_to_end[] = {SIGINT, SIGTERM, SIGHUP};
constexpr int folder_is_done = SIGUSR2;  // to the watcher alone

}  // namespace

work_folder::work_folder(std::string pattern) : path_(std::move(pattern)) {
  if (::mkdtemp(path_.data()) == nullptr) {
    path_.clear();
    return;
  }
  ::sigemptyset(&ends_);
  for (const int one : asks_to_end) {
    struct sigaction now {};
    // One that the caller ignores, as nohup does with SIGHUP, goes on being ignored.
    if (::sigaction(one, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) ::sigaddset(&ends_, one);
  }
  sigset_t waited = ends_;
  ::sigaddset(&waited, folder_is_done);
  ::pthread_sigmask(SIG_BLOCK, &waited, &before_);
  watcher_ = std::thread([this] { wait_for_signals(); });
}

work_folder::~work_folder() {
  if (path_.empty()) return;
  over_.store(true);
  ::pthread_kill(watcher_.native_handle(), folder_is_done);
  watcher_.join();
  remove();
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void work_folder::wait_for_signals() const {
  sigset_t waited = ends_;
  ::sigaddset(&waited, folder_is_done);
  int which = 0;
  do {  // anybody may send the one that says that the folder is done
    if (::sigwait(&waited, &which) != 0 || over_.load()) return;
  } while (which == folder_is_done);
  remove();
  // The other threads have them blocked, so this one takes it.
  ::signal(which, SIG_DFL);
  ::pthread_sigmask(SIG_UNBLOCK, &ends_, nullptr);
  ::raise(which);
}

void work_folder::remove() const {
  // Those that still run may make a file while it is being removed.
  constexpr int tries = 10;
  std::error_code failed;
  for (int i = 0; i < tries && std::filesystem::exists(path_, failed); i++)
    std::filesystem::remove_all(path_, failed);
}

}  // namespace cubby_cli
