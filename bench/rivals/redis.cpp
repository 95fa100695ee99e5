// Redis over a Unix socket, its append-only file on the same disk. All of it is in its memory: a
// get is none from the disk.
#include "rival.hpp"

#ifdef RIVALS_REDIS
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

namespace rivals {
namespace {

class redis_store final : public rival {
 public:
  explicit redis_store(place at) : at_(std::move(at)), socket_(at_.directory + "/socket") {
    start_server();
    for (int tries = 0; tries < 100; ++tries) {
      ::usleep(100'000);
      to_ = redisConnectUnix(socket_.c_str());
      if (to_ != nullptr && to_->err == 0) return;
      redisFree(to_);
    }
    give_up("redis-server did not come up at " + socket_);
  }
  ~redis_store() override {
    redisFree(to_);
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
  }
  void put(std::span<const block_key> keys, const char *from, outlives what) override {
    flush_always(what == outlives::power_cut);
    for (size_t i = 0; i < keys.size(); ++i) {
      redisAppendCommand(to_, "SET %s %b", keys[i].text().c_str(), from + i * at_.block_bytes,
                         at_.block_bytes);
    }
    for (size_t i = 0; i < keys.size(); ++i) freeReplyObject(next_reply());
  }
  void get(std::span<const block_key> keys, char *into) override {
    for (const block_key &one : keys) redisAppendCommand(to_, "GET %s", one.text().c_str());
    for (size_t i = 0; i < keys.size(); ++i) {
      redisReply *const reply = next_reply();
      if (reply->type != REDIS_REPLY_STRING || reply->len != at_.block_bytes) {
        give_up("Redis: a block was not there");
      }
      std::memcpy(into + i * at_.block_bytes, reply->str, reply->len);
      freeReplyObject(reply);
    }
  }
  void erase(std::span<const block_key> keys) override {
    for (const block_key &one : keys) redisAppendCommand(to_, "DEL %s", one.text().c_str());
    for (size_t i = 0; i < keys.size(); ++i) freeReplyObject(next_reply());
  }
  void reopen(void (*)(const std::string &)) override {}
  [[nodiscard]] double other_cpu_s() const override {
    std::FILE *const stat = std::fopen(("/proc/" + std::to_string(server_) + "/stat").c_str(), "r");
    unsigned long user = 0, system = 0;
    const int read = stat == nullptr ? 0
                                     : std::fscanf(stat,
                                                   "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u "
                                                   "%*u %*u %*u %lu %lu",
                                                   &user, &system);
    if (stat != nullptr) std::fclose(stat);
    if (read != 2) give_up("the processor time of redis-server could not be read");
    return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }

 private:
  void start_server() {
    server_ = ::fork();
    if (server_ < 0) give_up("no process for redis-server");
    if (server_ != 0) return;
    ::execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_.c_str(),
             "--dir", at_.directory.c_str(), "--save", "", "--appendonly", "yes", "--appendfsync",
             "no", "--auto-aof-rewrite-percentage", "0", "--logfile", "/dev/null",
             static_cast<char *>(nullptr));
    ::_exit(127);
  }
  void flush_always(bool always) {
    if (always == always_) return;
    always_ = always;
    redisAppendCommand(to_, "CONFIG SET appendfsync %s", always ? "always" : "no");
    freeReplyObject(next_reply());
  }
  redisReply *next_reply() {
    void *reply = nullptr;
    if (redisGetReply(to_, &reply) != REDIS_OK) give_up(std::string("Redis: ") + to_->errstr);
    auto *const made = static_cast<redisReply *>(reply);
    if (made->type == REDIS_REPLY_ERROR) give_up(std::string("Redis: ") + made->str);
    return made;
  }

  const place at_;
  const std::string socket_;
  pid_t server_ = -1;
  redisContext *to_ = nullptr;
  bool always_ = false;
};

}  // namespace

std::unique_ptr<rival> make_redis(const place &at) { return std::make_unique<redis_store>(at); }

}  // namespace rivals
#else
namespace rivals {
std::unique_ptr<rival> make_redis(const place &) { return nullptr; }
}  // namespace rivals
#endif
