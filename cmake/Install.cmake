# What `cmake --install` puts where: program, libdiffgen (static, shared), headers, pkg-config file, CMake package,
# manual pages, README and licence. Everything found relative to its own place, so that --prefix and DESTDIR work.
include(CMakePackageConfigHelpers)

# What a program that links libdiffgen.a has to link too. As -l flags and not as targets or Requires.private: those would
# drag in the private libraries of libarchive, which a shared libarchive does not need and a machine may not have.
set(DG_LINK_DIRS ${jansson_LIBRARY_DIRS} ${sodium_LIBRARY_DIRS} ${sqlite3_LIBRARY_DIRS} ${fftw3_LIBRARY_DIRS} ${libarchive_LIBRARY_DIRS} ${utf8proc_LIBRARY_DIRS}
    ${openblas_LIBRARY_DIRS})
foreach(library ${DNNL_LIBRARY} ${PNG_LIBRARY_RELEASE} ${ZLIB_LIBRARY_RELEASE})
  get_filename_component(folder ${library} DIRECTORY)
  list(APPEND DG_LINK_DIRS ${folder})
endforeach()
list(REMOVE_DUPLICATES DG_LINK_DIRS)
list(REMOVE_ITEM DG_LINK_DIRS ${CMAKE_C_IMPLICIT_LINK_DIRECTORIES})
set(DG_LINK_FLAGS "")
foreach(folder ${DG_LINK_DIRS})
  list(APPEND DG_LINK_FLAGS -L${folder})
endforeach()
if(DG_CUDA STREQUAL "nvcc")
  list(APPEND DG_LINK_FLAGS -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lstdc++ -ldl -lrt)
endif()
foreach(name dnnl ${libarchive_LIBRARIES} ${utf8proc_LIBRARIES} png jpeg z ${DG_DECODER_LINK_FLAGS} ${sodium_LIBRARIES} ${sqlite3_LIBRARIES} ${fftw3_LIBRARIES} ${lapacke_LIBRARIES} ${openblas_LIBRARIES}
             ${jansson_LIBRARIES} ${OpenMP_C_LIB_NAMES} pthread m)
  list(APPEND DG_LINK_FLAGS -l${name})
endforeach()
if(CMAKE_CXX_COMPILER) # kernels/cpu/dnnl_guard.cpp
  list(APPEND DG_LINK_FLAGS -lstdc++)
endif()
list(REMOVE_DUPLICATES DG_LINK_FLAGS)

target_link_libraries(libdiffgen_static INTERFACE ${DG_LINK_FLAGS})
set_target_properties(libdiffgen_static PROPERTIES EXPORT_NAME diffgen_static)
set_target_properties(libdiffgen_shared PROPERTIES EXPORT_NAME diffgen)
install(TARGETS libdiffgen_static libdiffgen_shared EXPORT diffgenTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/diffgen DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS diffgen RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)

# CMake package.
set(DG_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/diffgen)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/diffgenConfig.cmake.in ${CMAKE_BINARY_DIR}/diffgenConfig.cmake
                              INSTALL_DESTINATION ${DG_PACKAGE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/diffgenConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/diffgenConfig.cmake ${CMAKE_BINARY_DIR}/diffgenConfigVersion.cmake
        DESTINATION ${DG_PACKAGE_DIR})
install(EXPORT diffgenTargets NAMESPACE diffgen:: DESTINATION ${DG_PACKAGE_DIR})

# pkg-config file.
file(RELATIVE_PATH DG_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" DG_PC_TO_PREFIX "${DG_PC_TO_PREFIX}")
string(REPLACE ";" " " DG_PC_LIBS_PRIVATE "${DG_LINK_FLAGS}")
configure_file(${CMAKE_SOURCE_DIR}/cmake/diffgen.pc.in ${CMAKE_BINARY_DIR}/diffgen.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/diffgen.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Manual pages: printed by the program, from its option tables.
if(NOT CMAKE_CROSSCOMPILING)
  set(DG_MAN_DIR ${CMAKE_BINARY_DIR}/man)
  set(pages ${DG_MAN_DIR}/diffgen.1)
  file(MAKE_DIRECTORY ${DG_MAN_DIR})
  add_custom_command(OUTPUT ${DG_MAN_DIR}/diffgen.1 COMMAND diffgen man > ${DG_MAN_DIR}/diffgen.1 DEPENDS diffgen
                     VERBATIM)
  foreach(command train sample inspect evaluate evaluate-ref audit info bench devices accountant budget)
    set(page ${DG_MAN_DIR}/diffgen-${command}.1)
    add_custom_command(OUTPUT ${page} COMMAND diffgen man ${command} > ${page} DEPENDS diffgen VERBATIM)
    list(APPEND pages ${page})
  endforeach()
  add_custom_target(manual_pages ALL DEPENDS ${pages})
  install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
