# How ranks talk: NCCL from GPU to GPU, where it is found beside the CUDA backend, and MPI.

# Compiled in; libnccl.so.2 itself is loaded when several ranks train on GPUs.
if(DG_CUDA STREQUAL "nvcc")
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
endif()
if(DG_CUDA STREQUAL "nvcc" AND NCCL_INCLUDE_DIR)
  target_sources(diffgen_comm PRIVATE ${CMAKE_SOURCE_DIR}/src/comm/nccl/comm_nccl.c)
  target_include_directories(diffgen_comm SYSTEM PRIVATE ${NCCL_INCLUDE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
else()
  target_sources(diffgen_comm PRIVATE ${CMAKE_SOURCE_DIR}/src/comm/nccl/comm_no_nccl.c)
endif()

# diffgen_mpi.so: ranks over MPI, in a module that the program loads only when an MPI launcher started it. Needed to
# build, not to run: without MPI the ranks still talk over TCP (docs/ranks.md).
option(DIFFGEN_MPI "Build the module that talks over MPI, if an MPI is found" ON)

# Where the module is, seen from the program's folder.
file(RELATIVE_PATH DG_MODULE_FOLDER ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR}/diffgen)
target_compile_definitions(diffgen_comm PRIVATE DG_MODULE_FOLDER="${DG_MODULE_FOLDER}")

if(DIFFGEN_MPI)
  find_package(MPI QUIET COMPONENTS C)
  if(NOT MPI_C_FOUND)
    message(NOTICE "Ranks over MPI are left out: no MPI was found (libopenmpi-dev; tools/install-packages.sh)")
  endif()
endif()
if(DIFFGEN_MPI AND MPI_C_FOUND)
  add_library(diffgen_mpi MODULE ${CMAKE_SOURCE_DIR}/src/comm/mpi/comm_mpi.c)
  dg_configure_target(diffgen_mpi)
  set_target_properties(diffgen_mpi PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  target_include_directories(diffgen_mpi PRIVATE ${CMAKE_BINARY_DIR}/include/comm)
  target_link_libraries(diffgen_mpi PRIVATE MPI::MPI_C)
  install(TARGETS diffgen_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/diffgen)
endif()
