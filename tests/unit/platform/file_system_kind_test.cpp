#include "platform/file_system_kind.hpp"

#include <sys/vfs.h>

#include <string>

#include "support/catch.hpp"

namespace file_system_kind_test {

using namespace cubby::platform;

TEST_CASE("file systems are known by the number that statfs gives") {
  struct statfs there = {};
  REQUIRE(::statfs("/dev/shm", &there) == 0);
  const auto shm = file_system_kind_of(static_cast<uint32_t>(there.f_type));
  CHECK(shm.medium == file_system_medium::memory);
  CHECK(std::string(shm.name) == "tmpfs");
  CHECK_FALSE(shm.is_shared());
  CHECK(file_system_kind_of(0x6969).is_shared());
  CHECK(file_system_kind_of(0x65735546).medium == file_system_medium::program);
  CHECK(file_system_kind_of(0x65735546).is_shared());
  // Numbers above 31 bits come back from some kernels with their sign.
  CHECK(std::string(file_system_kind_of(static_cast<uint64_t>(int64_t{-11317950})).name) == "CIFS");
  CHECK(file_system_kind_of(0xEF53).name == nullptr);  // ext4
  CHECK(file_system_kind_of(0xEF53).medium == file_system_medium::disk);
}

}  // namespace file_system_kind_test
