# Flags that every target of this project is compiled with.
add_library(cubby_flags INTERFACE)
target_compile_options(cubby_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Woverloaded-virtual>
  -Wshadow
  $<$<BOOL:${CUBBY_WERROR}>:-Werror>
  -fvisibility=hidden
  # What nothing calls is left out of the shared library, which links with --gc-sections.
  -ffunction-sections -fdata-sections)
# Sources that are compiled together may have the same names for themselves.
add_library(cubby_unity INTERFACE)
target_compile_options(cubby_unity INTERFACE -Wno-shadow
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-subobject-linkage>)
if(CUBBY_UNITY)
  target_link_libraries(cubby_flags INTERFACE cubby_unity)
endif()
if(CUBBY_SANITIZE)
  # gcc 12 reports false "maybe uninitialized" reads in its own <regex> once sanitizers are on.
  target_compile_options(cubby_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
    -fsanitize=${CUBBY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(cubby_flags INTERFACE -fsanitize=${CUBBY_SANITIZE})
  # Such a build is for tests alone, so that those with deliberate defects need none of their own.
  target_compile_definitions(cubby_flags INTERFACE CUBBY_ENABLE_MUTANTS)
endif()
