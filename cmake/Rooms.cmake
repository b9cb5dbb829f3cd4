# A room is a folder of C files with one static target, linked only to the rooms below it.

set(DG_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wpointer-arith
                -Wwrite-strings -Wno-unknown-pragmas -Werror=implicit-function-declaration)
set(DG_SANITIZE_FLAGS "")
if(DIFFGEN_SANITIZE)
  set(DG_SANITIZE_FLAGS -fsanitize=${DIFFGEN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
endif()
set(DG_ROOMS "" CACHE INTERNAL "every room's target, in the order they were added")

# Flags every target of ours is compiled with.
function(dg_configure_target target)
  # Nobody reads errno after a math function, and with errno gcc keeps a call (and no vector code) for sqrtf.
  target_compile_options(${target} PRIVATE ${DG_WARNINGS} ${DG_SANITIZE_FLAGS} -fno-math-errno)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE DIFFGEN_VERSION="${PROJECT_VERSION}")
  target_link_options(${target} PUBLIC ${DG_SANITIZE_FLAGS})
endfunction()

# dg_add_room(name folder LINKS targets...): target diffgen_<name> from folder/*.c.
# Headers of a room are seen by its own files and by the rooms above it only.
function(dg_add_room name folder)
  cmake_parse_arguments(ROOM "" "" "LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
  add_library(diffgen_${name} STATIC ${sources})
  dg_configure_target(diffgen_${name})
  dg_expose_headers(diffgen_${name} ${folder})
  target_include_directories(diffgen_${name} PUBLIC ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(diffgen_${name} PUBLIC ${ROOM_LINKS})
  set(DG_ROOMS "${DG_ROOMS};diffgen_${name}" CACHE INTERNAL "")
endfunction()

# An include directory that holds nothing but a link to this room, so that "#include "nn/x.h"" finds nn only for
# targets that link to nn.
function(dg_expose_headers target folder)
  get_filename_component(name ${folder} NAME)
  set(view ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${folder} ${view}/${name} SYMBOLIC)
  target_include_directories(${target} PUBLIC ${view})
endfunction()

# libdiffgen, static and shared, out of every room's objects, with its installation files.
function(dg_add_library)
  set(objects "")
  foreach(room ${DG_ROOMS})
    list(APPEND objects $<TARGET_OBJECTS:${room}>)
  endforeach()
  foreach(kind STATIC SHARED)
    string(TOLOWER ${kind} suffix)
    add_library(libdiffgen_${suffix} ${kind} ${objects})
    set_target_properties(libdiffgen_${suffix} PROPERTIES OUTPUT_NAME diffgen LINKER_LANGUAGE C
                          VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
    target_include_directories(libdiffgen_${suffix} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
                               $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  endforeach()
  # A program links the shared library alone, which therefore knows its own libraries and shows only the public calls.
  target_link_libraries(libdiffgen_shared PRIVATE dnnl PkgConfig::jansson PkgConfig::sodium PkgConfig::sqlite3 PkgConfig::fftw3
                        PkgConfig::libarchive PkgConfig::utf8proc PkgConfig::lapacke PkgConfig::openblas
                        PNG::PNG JPEG::JPEG ZLIB::ZLIB OpenMP::OpenMP_C Threads::Threads dg_cuda_libraries ${DG_DECODER_LIBRARIES}
                        $<$<BOOL:${CMAKE_CXX_COMPILER}>:stdc++> m)
  target_link_options(libdiffgen_shared PRIVATE ${DG_SANITIZE_FLAGS}
                      -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/diffgen.map)
  if(NOT DIFFGEN_SANITIZE)
    target_link_options(libdiffgen_shared PRIVATE -Wl,--no-undefined)
  endif()
  set_target_properties(libdiffgen_shared PROPERTIES LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/diffgen.map)
endfunction()

function(dg_add_program)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cli/*.c)
  if(NOT sources)
    return()
  endif()
  add_executable(diffgen ${sources})
  dg_configure_target(diffgen)
  dg_expose_headers(diffgen src/cli)
  target_link_libraries(diffgen PRIVATE diffgen_train diffgen_sample diffgen_inspect diffgen_bench diffgen_budget
                        diffgen_accounting diffgen_evaluate diffgen_audit
                        diffgen_check)
endfunction()

# The presets of models/ as a header for one target.
function(dg_embed_presets target)
  file(GLOB presets CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/models/*.json)
  set(header ${CMAKE_BINARY_DIR}/generated/train/preset_files.h)
  add_custom_command(OUTPUT ${header}
                     COMMAND ${CMAKE_COMMAND} "-DSOURCES=${presets}" -DOUTPUT=${header}
                             -P ${CMAKE_SOURCE_DIR}/cmake/EmbedPresets.cmake
                     DEPENDS ${presets} ${CMAKE_SOURCE_DIR}/cmake/EmbedPresets.cmake VERBATIM)
  target_sources(${target} PRIVATE ${header})
  target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/generated)
endfunction()
