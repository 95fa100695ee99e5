// A store on a disk in memory, for tests that are not about power cuts.
#pragma once

#include <memory>
#include <string>

#include "support/catch.hpp"
#include "support/store_disk.hpp"

namespace open_stores {

struct opened {
  store_disk::image files;
  std::unique_ptr<cubby::store::block_store> store;
  std::string bytes, key_text;  // of the last request

  explicit opened(uint64_t budget_bytes, uint32_t count = 1, uint64_t block_bytes = 16384)
      : files(store_disk::fresh(store_disk::shape(budget_bytes, count, block_bytes))) {
    again();
  }
  /// The next process.
  cubby::store::recovery_report again() {
    auto found = store_disk::recover(files);
    REQUIRE(found);
    const cubby::store::recovery_report report = found->report;
    store = std::make_unique<cubby::store::block_store>(std::move(found).value());
    store_disk::settle(*store, files);
    return report;
  }
  uint32_t space(const std::string &domain = "tenant") {
    const auto id = store->add_space("model", domain, 0);
    REQUIRE(id);
    REQUIRE(done().status == CUBBY_OK);
    return *id;
  }
  cubby::store::put_request request(uint32_t in, const std::string &key, uint32_t size,
                                    uint8_t keep) {
    bytes.assign(size, static_cast<char>(key.size() + size));
    cubby::store::put_request put;
    put.space = in;
    put.key = key_text = key;
    put.keep = keep;
    put.part_count = 1;
    put.part_bytes[0] = size;
    put.data = bytes.data();
    return put;
  }
  cubby::result<uint32_t> put(uint32_t in, const std::string &key, uint32_t size,
                              uint8_t keep = CUBBY_KEEP_RESTART) {
    auto number = store->put(request(in, key, size, keep));
    if (number) REQUIRE(done().status == CUBBY_OK);
    return number;
  }
  void erase(uint32_t number) {
    REQUIRE(store->erase(number, 0));
    REQUIRE(done().status == CUBBY_OK);
  }
  cubby::store::store_completion done() {
    store_disk::settle(*store, files);
    cubby::store::store_completion out;
    REQUIRE(store->next_completion(out));
    return out;
  }
};

}  // namespace open_stores
