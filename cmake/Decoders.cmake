# The decoders of the data room that are made of a library of their own. A library that was not found has its
# decode_<name>_none.c in place of decode_<name>.*, which refuses such files by name.
set(DIFFGEN_WITHOUT "" CACHE STRING "Decoders to leave out though their library is there, e.g. webp;tiff")
set(DG_DECODER_LIBRARIES "")
set(DG_DECODER_LINK_FLAGS "")

function(dg_choose_decoder name target flags)
  get_target_property(sources diffgen_data SOURCES)
  if(TARGET ${target} AND NOT name IN_LIST DIFFGEN_WITHOUT)
    list(FILTER sources EXCLUDE REGEX "/decode_${name}_none\\.c$")
    target_link_libraries(diffgen_data PUBLIC ${target})
    set(DG_DECODER_LIBRARIES ${DG_DECODER_LIBRARIES} ${target} PARENT_SCOPE)
    set(DG_DECODER_LINK_FLAGS ${DG_DECODER_LINK_FLAGS} ${flags} PARENT_SCOPE)
  else()
    message(NOTICE "Images of the kind ${name} are not read: the library was not found (tools/install-packages.sh)")
    list(FILTER sources EXCLUDE REGEX "/decode_${name}\\.[a-z]+$")
  endif()
  set_target_properties(diffgen_data PROPERTIES SOURCES "${sources}")
endfunction()

dg_choose_decoder(webp PkgConfig::webp "${webp_LIBRARIES}")
dg_choose_decoder(tiff PkgConfig::tiff "${tiff_LIBRARIES}")
