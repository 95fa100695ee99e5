# The Python package as a part of this build, where the interpreter has what it needs; see docs/python.md.
set(CUBBY_BUILD_PYTHON AUTO CACHE STRING
    "Build and test the Python package: ON, OFF, or AUTO = where nanobind and pytest are installed")
set(cubby_build_python ${CUBBY_BUILD_PYTHON})
if(CUBBY_BUILD_PYTHON STREQUAL "AUTO")
  set(cubby_build_python OFF)
  find_package(Python 3.10 QUIET COMPONENTS Interpreter Development.Module)
  if(Python_FOUND)
    execute_process(COMMAND ${Python_EXECUTABLE} -c "import nanobind, pytest"
                    RESULT_VARIABLE cubby_python_lacks OUTPUT_QUIET ERROR_QUIET)
    if(cubby_python_lacks EQUAL 0)
      set(cubby_build_python ON)
    endif()
  endif()
  if(NOT cubby_build_python)
    message(STATUS "cubby: no Python package: it needs Python 3.10 with headers, nanobind and pytest.")
  endif()
endif()
if(cubby_build_python)
  add_subdirectory(python)
  add_test(NAME python_package
           COMMAND ${Python_EXECUTABLE} -m pytest -q -p no:cacheprovider
                   -c ${PROJECT_SOURCE_DIR}/pyproject.toml ${PROJECT_SOURCE_DIR}/python/tests)
  set(cubby_fake_cuda "")
  if(NOT CUBBY_SANITIZE)  # which no interpreter of others loads
    set(cubby_fake_cuda ";CUBBY_FAKE_CUDA=${PROJECT_BINARY_DIR}/tests/fake_driver")
  endif()
  set_tests_properties(python_package PROPERTIES TIMEOUT 600 ENVIRONMENT
    "PYTHONPATH=${PROJECT_BINARY_DIR}/python/stage;CUBBY_COMMAND=$<TARGET_FILE:cubby_cli>${cubby_fake_cuda}")
endif()
