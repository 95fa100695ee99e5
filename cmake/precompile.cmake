# Parsing standard headers, nlohmann/json and Catch2 is most of what a build of this tree costs, so they
# are parsed once for each set of flags. CMAKE_DISABLE_PRECOMPILE_HEADERS=ON builds without: the test
# build_without does so for the library, the preset no-uring for everything.
set(cubby_std_headers <algorithm> <array> <atomic> <bit> <cerrno> <chrono> <cmath> <cstddef> <cstdint>
  <cstdio> <cstdlib> <cstring> <deque> <filesystem> <fstream> <functional> <map> <memory> <mutex> <new>
  <optional> <set> <span> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>)

# Code whose speed nobody measures: tests, and what the command does around its measured loops. The
# address sanitizer's checks take gcc twice as long to optimise as they take without. Those for
# undefined behaviour, half as long again, are for the library.
set(cheap -O1)
if(CUBBY_SANITIZE)
  set(cheap -O0)
  if(CUBBY_SANITIZE MATCHES undefined)
    list(APPEND cheap -fno-sanitize=undefined)
  endif()
endif()
add_library(cubby_cheap INTERFACE)
target_compile_options(cubby_cheap INTERFACE "$<$<CONFIG:Release,RelWithDebInfo>:${cheap};-g1>")

# cubby_header_set(name FLAGS libraries… HEADERS headers…): headers parsed once, to be used by
# cubby_use_headers(target name) of targets in C++ that are compiled with the same flags.
function(cubby_header_set name)
  cmake_parse_arguments(arg "" "" "FLAGS;HEADERS" ${ARGN})
  set(source ${PROJECT_BINARY_DIR}/cubby_headers_${name}.cpp)
  if(NOT EXISTS ${source})
    file(WRITE ${source} "")
  endif()
  add_library(cubby_headers_${name} OBJECT ${source})
  target_link_libraries(cubby_headers_${name} PRIVATE cubby_flags ${arg_FLAGS})
  list(TRANSFORM arg_HEADERS REPLACE "^<(.+)>$" "$<$<COMPILE_LANGUAGE:CXX>:<\\1$<ANGLE-R>>"
       OUTPUT_VARIABLE headers)
  target_precompile_headers(cubby_headers_${name} PRIVATE ${headers})
endfunction()

function(cubby_use_headers target name)
  # Programs are compiled as libraries are: gcc refuses headers that were parsed for the other kind.
  # gcc 12 also forgets which warnings the standard headers have silenced where it found false ones.
  target_compile_options(${target} PRIVATE -fPIC
    $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds -Wno-restrict -Wno-stringop-overflow
                             -Wno-stringop-overread -Wno-maybe-uninitialized>)
  target_precompile_headers(${target} REUSE_FROM cubby_headers_${name})
endfunction()

cubby_header_set(std HEADERS ${cubby_std_headers})
