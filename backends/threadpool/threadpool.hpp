// The "threadpool" backend of this library; everything else is said through the table of
// operations.
#pragma once
#include <cubby/backend.h>

const cubby_backend_ops *cubby_threadpool_backend();
