#include "platform/file_system_kind.hpp"

namespace cubby::platform {
namespace {

using medium = file_system_medium;

struct known_file_system {
  uint32_t number;
  file_system_kind kind;
};

/// Numbers of linux/magic.h, some of which it lacks.
constexpr known_file_system known_file_systems[] = {
    {0x01021994, {"tmpfs", medium::memory}},     {0x858458f6, {"ramfs", medium::memory}},
    {0x958458f6, {"hugetlbfs", medium::memory}}, {0x6969, {"NFS", medium::network}},
    {0xff534d42, {"CIFS", medium::network}},     {0xfe534d42, {"SMB", medium::network}},
    {0x00c36400, {"Ceph", medium::network}},     {0x01021997, {"9p", medium::network}},
    {0x5346414f, {"AFS", medium::network}},      {0x0bd00bd0, {"Lustre", medium::network}},
    {0x47504653, {"GPFS", medium::network}},     {0x19830326, {"BeeGFS", medium::network}},
    {0x65735546, {"FUSE", medium::program}},
};

}  // namespace

file_system_kind file_system_kind_of(uint64_t number) noexcept {
  for (const known_file_system &one : known_file_systems)
    if (one.number == static_cast<uint32_t>(number)) return one.kind;
  return {};
}

}  // namespace cubby::platform
