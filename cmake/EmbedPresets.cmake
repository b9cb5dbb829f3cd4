# Writes preset_files.h: the files of models/ as byte arrays, so that the program needs no file beside it.
# Called as: cmake -DSOURCES=a.json;b.json -DOUTPUT=preset_files.h -P EmbedPresets.cmake
set(text "/* Made from models/ by cmake/EmbedPresets.cmake. */\n#include <stddef.h>\n")
set(table "")
set(count 0)
foreach(source ${SOURCES})
  get_filename_component(name ${source} NAME_WE)
  file(READ ${source} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND text "static const unsigned char preset_${name}[] = {${bytes}};\n")
  string(APPEND table "    {\"${name}\", preset_${name}, sizeof preset_${name}},\n")
  math(EXPR count "${count} + 1")
endforeach()
string(APPEND text "enum { DG_PRESET_FILE_COUNT = ${count} };\n"
       "static const struct {\n    const char *name;\n    const unsigned char *text;\n    size_t size;\n}"
       " dg_preset_files[] = {\n${table}};\n")
file(WRITE ${OUTPUT} "${text}")
