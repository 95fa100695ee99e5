// RocksDB with its large values in blob files, uncompressed, checksums verified.
#include "rival.hpp"

#ifdef RIVALS_ROCKSDB
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <cstring>

namespace rivals {
namespace {

void check(const rocksdb::Status &status) {
  if (!status.ok()) give_up("RocksDB: " + status.ToString());
}

class rocksdb_store final : public rival {
 public:
  explicit rocksdb_store(place at) : at_(std::move(at)) { open(); }
  ~rocksdb_store() override { check(db_->Close()); }
  void put(std::span<const block_key> keys, const char *from, outlives what) override {
    rocksdb::WriteBatch batch;
    for (size_t i = 0; i < keys.size(); ++i) {
      check(batch.Put(keys[i].text(), {from + i * at_.block_bytes, at_.block_bytes}));
    }
    rocksdb::WriteOptions how;
    how.sync = what == outlives::power_cut;
    check(db_->Write(how, &batch));
  }
  void get(std::span<const block_key> keys, char *into) override {
    rocksdb::ReadOptions how;
    how.fill_cache = false;
    for (size_t i = 0; i < keys.size(); ++i) {
      rocksdb::PinnableSlice found;
      check(db_->Get(how, db_->DefaultColumnFamily(), keys[i].text(), &found));
      if (found.size() != at_.block_bytes) give_up("RocksDB: a block of another length");
      std::memcpy(into + i * at_.block_bytes, found.data(), found.size());
    }
  }
  void erase(std::span<const block_key> keys) override {
    rocksdb::WriteBatch batch;
    for (const block_key &one : keys) check(batch.Delete(one.text()));
    check(db_->Write({}, &batch));
    rocksdb::CompactRangeOptions all;
    all.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    all.blob_garbage_collection_policy = rocksdb::BlobGarbageCollectionPolicy::kForce;
    all.blob_garbage_collection_age_cutoff = 1.0;
    check(db_->Flush({}));
    check(db_->CompactRange(all, nullptr, nullptr));
  }
  void reopen(void (*between)(const std::string &)) override {
    check(db_->Flush({}));
    check(db_->Close());
    db_.reset();
    between(at_.directory);
    open();
  }

 private:
  void open() {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kNoCompression;
    options.enable_blob_files = true;
    options.min_blob_size = 4096;
    options.enable_blob_garbage_collection = true;
    options.write_buffer_size = 64u << 20;
    options.max_background_jobs = 2;
    rocksdb::DB *made = nullptr;
    check(rocksdb::DB::Open(options, at_.directory, &made));
    db_.reset(made);
  }

  const place at_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace

std::unique_ptr<rival> make_rocksdb(const place &at) { return std::make_unique<rocksdb_store>(at); }

}  // namespace rivals
#else
namespace rivals {
std::unique_ptr<rival> make_rocksdb(const place &) { return nullptr; }
}  // namespace rivals
#endif
