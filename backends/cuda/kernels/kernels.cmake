# Compiles the reference kernels where a CUDA toolkit is: code for the devices of its architectures, and PTX for later
# ones, in one file that becomes a section of the library. Without a toolkit the library has no kernels, and says so.
set(CUBBY_WITH_CUDA_KERNELS AUTO CACHE STRING "Compile the CUDA kernels: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE CUBBY_WITH_CUDA_KERNELS PROPERTY STRINGS AUTO ON OFF)
set(CUBBY_CUDA_ARCHITECTURES "80;90;100" CACHE STRING "Compute capabilities to compile the kernels for, as the toolkit knows them")
find_program(CUBBY_NVCC nvcc PATHS /usr/local/cuda/bin /opt/cuda/bin)

if(CUBBY_WITH_CUDA_KERNELS STREQUAL "OFF")
  message(STATUS "cubby: CUBBY_WITH_CUDA_KERNELS is OFF; the library has no CUDA kernels.")
  return()
elseif(NOT CUBBY_NVCC)
  if(CUBBY_WITH_CUDA_KERNELS STREQUAL "ON")
    message(FATAL_ERROR "cubby: CUBBY_WITH_CUDA_KERNELS is ON and nvcc was not found; set CUBBY_NVCC.")
  endif()
  message(STATUS "cubby: nvcc was not found; the library has no CUDA kernels.")
  return()
endif()

execute_process(COMMAND ${CUBBY_NVCC} --list-gpu-code OUTPUT_VARIABLE known ERROR_QUIET)
set(codes "")
set(compiled_for "")
set(lowest "")
foreach(capability IN LISTS CUBBY_CUDA_ARCHITECTURES)
  if(known MATCHES "sm_${capability}[^0-9a-z]")
    list(APPEND codes "-gencode=arch=compute_${capability},code=sm_${capability}")
    list(APPEND compiled_for ${capability})
    if(NOT lowest)
      set(lowest ${capability})
    endif()
  endif()
endforeach()
if(NOT codes)
  message(STATUS "cubby: ${CUBBY_NVCC} knows none of ${CUBBY_CUDA_ARCHITECTURES}; the library has no CUDA kernels.")
  return()
endif()
list(APPEND codes "-gencode=arch=compute_${lowest},code=compute_${lowest}")

# A toolkit that is there may still not work: with a host compiler that it does not know, or in part installed.
set(probe ${CMAKE_CURRENT_BINARY_DIR}/kernels_probe)
file(WRITE ${probe}.cu "#include <cstdint>\n__global__ void nothing(uint64_t *) {}\n")
execute_process(COMMAND ${CUBBY_NVCC} -std=c++17 -gencode=arch=compute_${lowest},code=sm_${lowest} -fatbin ${probe}.cu
                        -o ${probe}.fatbin RESULT_VARIABLE probed OUTPUT_VARIABLE probe_words ERROR_VARIABLE probe_words)
if(NOT probed EQUAL 0)
  if(CUBBY_WITH_CUDA_KERNELS STREQUAL "ON")
    message(FATAL_ERROR "cubby: CUBBY_WITH_CUDA_KERNELS is ON and ${CUBBY_NVCC} compiles nothing:\n${probe_words}")
  endif()
  message(STATUS "cubby: ${CUBBY_NVCC} compiles nothing here; the library has no CUDA kernels. It says:\n${probe_words}")
  return()
endif()
set(kernel_warnings "")
if(CUBBY_WERROR)
  set(kernel_warnings --Werror all-warnings)
endif()

set(kernel_folder ${PROJECT_SOURCE_DIR}/backends/cuda/kernels)
set(kernel_image ${CMAKE_CURRENT_BINARY_DIR}/kernels.fatbin)
add_custom_command(OUTPUT ${kernel_image}
  COMMAND ${CUBBY_NVCC} -std=c++17 -I${PROJECT_SOURCE_DIR}/include ${codes} -Xcompiler -Wall,-Wextra
          ${kernel_warnings} -Xfatbin -compress-all -fatbin ${kernel_folder}/kernels.cu -o ${kernel_image}
  DEPENDS ${kernel_folder}/kernels.cu ${kernel_folder}/work.cuh ${kernel_folder}/formats.cuh ${kernel_folder}/digest.cuh
          ${PROJECT_SOURCE_DIR}/include/cubby/cubby_device.cuh ${PROJECT_SOURCE_DIR}/include/cubby/cubby.h
  COMMENT "Compiling the CUDA kernels" VERBATIM)
target_sources(cubby_backend_cuda PRIVATE ${kernel_image})
set_source_files_properties(${kernel_image} PROPERTIES GENERATED ON HEADER_FILE_ONLY ON)
set_source_files_properties(cuda/kernels/kernel_image.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON
  COMPILE_DEFINITIONS CUBBY_KERNEL_IMAGE="${kernel_image}" OBJECT_DEPENDS ${kernel_image})
set(CUBBY_HAVE_KERNELS ON PARENT_SCOPE)
message(STATUS "cubby: CUDA kernels by ${CUBBY_NVCC} for ${compiled_for} and PTX of ${lowest}.")
