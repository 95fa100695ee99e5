// LMDB: one transaction a batch, its values reserved in place and copied there once.
#include "rival.hpp"

#ifdef RIVALS_LMDB
#include <lmdb.h>

#include <cstring>

namespace rivals {
namespace {

void check(int status) {
  if (status != MDB_SUCCESS) give_up(std::string("LMDB: ") + mdb_strerror(status));
}

MDB_val as_value(const std::string &text) { return {text.size(), const_cast<char *>(text.data())}; }

class lmdb_store final : public rival {
 public:
  explicit lmdb_store(place at) : at_(std::move(at)) { open(); }
  ~lmdb_store() override { mdb_env_close(env_); }
  void put(std::span<const block_key> keys, const char *from, outlives what) override {
    MDB_txn *const all = begin(0);
    for (size_t i = 0; i < keys.size(); ++i) {
      const std::string name = keys[i].text();
      MDB_val key = as_value(name), value = {at_.block_bytes, nullptr};
      check(mdb_put(all, dbi_, &key, &value, MDB_RESERVE));
      std::memcpy(value.mv_data, from + i * at_.block_bytes, at_.block_bytes);
    }
    check(mdb_txn_commit(all));
    if (what == outlives::power_cut) check(mdb_env_sync(env_, 1));
  }
  void get(std::span<const block_key> keys, char *into) override {
    MDB_txn *const all = begin(MDB_RDONLY);
    for (size_t i = 0; i < keys.size(); ++i) {
      const std::string name = keys[i].text();
      MDB_val key = as_value(name), value{};
      check(mdb_get(all, dbi_, &key, &value));
      if (value.mv_size != at_.block_bytes) give_up("LMDB: a block of another length");
      std::memcpy(into + i * at_.block_bytes, value.mv_data, value.mv_size);
    }
    mdb_txn_abort(all);
  }
  void erase(std::span<const block_key> keys) override {
    MDB_txn *const all = begin(0);
    for (const block_key &one : keys) {
      const std::string name = one.text();
      MDB_val key = as_value(name);
      check(mdb_del(all, dbi_, &key, nullptr));
    }
    check(mdb_txn_commit(all));
  }
  void reopen(void (*between)(const std::string &)) override {
    check(mdb_env_sync(env_, 1));
    mdb_env_close(env_);
    between(at_.directory);
    open();
  }

 private:
  MDB_txn *begin(unsigned flags) {
    MDB_txn *made = nullptr;
    check(mdb_txn_begin(env_, nullptr, flags, &made));
    return made;
  }
  void open() {
    check(mdb_env_create(&env_));
    check(mdb_env_set_mapsize(env_, 4 * at_.set_bytes + (64u << 20)));
    // A commit goes to the page cache, which outlives the process; put() flushes where it has to.
    check(mdb_env_open(env_, at_.directory.c_str(), MDB_NOSYNC, 0600));
    MDB_txn *const first = begin(0);
    check(mdb_dbi_open(first, nullptr, 0, &dbi_));
    check(mdb_txn_commit(first));
  }

  const place at_;
  MDB_env *env_ = nullptr;
  MDB_dbi dbi_ = 0;
};

}  // namespace

std::unique_ptr<rival> make_lmdb(const place &at) { return std::make_unique<lmdb_store>(at); }

}  // namespace rivals
#else
namespace rivals {
std::unique_ptr<rival> make_lmdb(const place &) { return nullptr; }
}  // namespace rivals
#endif
