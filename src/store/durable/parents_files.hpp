// Files that a forked child is not to have open: a lock of an open file is held until the last
// process that has it ends, and a child may live longer than its parent.
#pragma once

namespace cubby::store {

/// From here on it is closed in each child. May throw bad_alloc.
void close_in_children(int fd);
/// Before it is closed. Nothing is done where close_in_children() was not called.
void forget_in_children(int fd) noexcept;

}  // namespace cubby::store
