# The CUDA backend: built by nvcc where a toolkit is found, or by the host compiler against the simulator of
# tests/cudasim, or left out.
set(DIFFGEN_CUDA auto CACHE STRING
    "auto: if a CUDA toolkit is found; on; off; simulator: run on the CPU, for tests, if the toolkit's headers are found")
set_property(CACHE DIFFGEN_CUDA PROPERTY STRINGS auto on off simulator)
set(DIFFGEN_CUDA_ARCHITECTURES 80-real 86-real 90-real 100-real 120 CACHE STRING
    "What nvcc compiles for; the last one also as PTX, for what comes after it")

set(DG_CUDA none)
if(DIFFGEN_CUDA STREQUAL "simulator")
  find_path(DG_CUDA_INCLUDE_DIR cuda_runtime.h HINTS /usr/local/cuda/include /usr/include/cuda)
  if(DG_CUDA_INCLUDE_DIR)
    enable_language(CXX)
    set(DG_CUDA simulator)
  else()
    message(NOTICE "The CUDA backend and its tests are left out: no cuda_runtime.h was found")
  endif()
elseif(NOT DIFFGEN_CUDA STREQUAL "off")
  include(CheckLanguage)
  set(CMAKE_CUDA_ARCHITECTURES ${DIFFGEN_CUDA_ARCHITECTURES})
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    set(DG_CUDA nvcc)
  elseif(DIFFGEN_CUDA STREQUAL "on")
    message(FATAL_ERROR "DIFFGEN_CUDA is on, but no CUDA toolkit was found: put its nvcc on the PATH, or set CUDACXX")
  else()
    message(NOTICE "The CUDA backend is left out: no CUDA toolkit was found (nvcc on the PATH, or CUDACXX)")
  endif()
endif()

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
# What everything that links the backend has to link too.
add_library(dg_cuda_libraries INTERFACE)

# Adds the backend's objects to diffgen_kernels, or the file that stands for it.
function(dg_add_cuda_backend)
  if(DG_CUDA STREQUAL "none")
    target_sources(diffgen_kernels PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/backend_no_cuda.c)
    return()
  endif()
  file(GLOB kernels CONFIGURE_DEPENDS cuda/*.cu)
  file(GLOB host CONFIGURE_DEPENDS cuda/*.c)
  add_library(diffgen_kernels_cuda OBJECT ${kernels} ${host})
  target_compile_definitions(diffgen_kernels_cuda PRIVATE _GNU_SOURCE)
  target_link_libraries(diffgen_kernels_cuda PRIVATE diffgen_core)
  # kernels/ and core/ by the names that the sources use
  target_include_directories(diffgen_kernels_cuda PRIVATE ${CMAKE_BINARY_DIR}/include/kernels)
  if(DG_CUDA STREQUAL "nvcc")
    dg_configure_nvcc()
  else()
    dg_configure_simulator("${kernels}")
  endif()
  target_sources(diffgen_kernels PRIVATE $<TARGET_OBJECTS:diffgen_kernels_cuda>)
  target_link_libraries(diffgen_kernels PRIVATE dg_cuda_libraries)
  set(DG_ROOMS "${DG_ROOMS};diffgen_kernels_cuda" CACHE INTERNAL "")
endfunction()

# Spills go to memory that nobody accounted for: a kernel that has some does not build.
macro(dg_configure_nvcc)
  target_include_directories(diffgen_kernels_cuda PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_compile_options(diffgen_kernels_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:C>:${DG_WARNINGS}>
    $<$<COMPILE_LANGUAGE:CUDA>:-O3 -lineinfo -Xcompiler=-fno-exceptions,-fno-rtti,-Wall
                               -Xptxas=-warn-spills,-warn-lmem-usage -Werror=all-warnings>)
  target_link_libraries(dg_cuda_libraries INTERFACE CUDA::cudart_static)
endmacro()

# Compiles the target's CUDA sources as C++ against the simulator. Host sources pass unchanged.
function(dg_run_in_simulator target)
  set(sources ${ARGN})
  list(FILTER sources INCLUDE REGEX "\\.cu$")
  if(sources)
    set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX)
  endif()
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/cudasim)
  target_include_directories(${target} SYSTEM PRIVATE ${DG_CUDA_INCLUDE_DIR})
  target_compile_options(${target} PRIVATE ${DG_SANITIZE_FLAGS} -Wall -Wextra -Wno-unknown-pragmas
                         "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-x c++>")
endfunction()

macro(dg_configure_simulator kernels)
  target_compile_definitions(diffgen_kernels_cuda PRIVATE DG_CUDASIM)
  dg_run_in_simulator(diffgen_kernels_cuda ${kernels})
  file(GLOB simulator CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cudasim/*.cpp)
  list(FILTER simulator EXCLUDE REGEX "/test_")
  add_library(cudasim STATIC ${simulator})
  target_include_directories(cudasim PUBLIC ${CMAKE_SOURCE_DIR}/tests/cudasim)
  target_include_directories(cudasim SYSTEM PUBLIC ${DG_CUDA_INCLUDE_DIR})
  target_compile_options(cudasim PRIVATE -O2 -Wall -Wextra)
  if(DIFFGEN_SANITIZE MATCHES "address")
    target_compile_definitions(cudasim PUBLIC CUDASIM_ASAN)
  endif()
  target_link_libraries(dg_cuda_libraries INTERFACE cudasim stdc++)
endmacro()
