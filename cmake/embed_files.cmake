# treadle_embed(OUT_VARIABLE FOLDER f PATTERN p HEADER h FUNCTION g): the files
# f/p become string literals; the generated source, named in OUT_VARIABLE,
# defines `std::span<const EmbeddedFile> g()`, which the header h declares.
# Included by CMakeLists.txt this file sets up the build rule; run with
# `cmake -P` it writes the source.
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB files ${FOLDER}/${PATTERN})
  list(SORT files)
  set(literals)
  set(count 0)
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME)
    file(READ ${file} text)
    string(APPEND literals "    EmbeddedFile{\"${name}\", R\"text(${text})text\"},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  file(WRITE ${OUTPUT_FILE} "// Written by cmake/embed_files.cmake.
#include \"${HEADER}\"

#include <array>

namespace treadle {

std::span<const EmbeddedFile> ${FUNCTION}() {
  static constexpr std::array<EmbeddedFile, ${count}> files{
${literals}  };
  return files;
}

}  // namespace treadle
")
  return()
endif()

function(treadle_embed out_variable)
  cmake_parse_arguments(ARG "" "FOLDER;PATTERN;HEADER;FUNCTION" "" ${ARGN})
  set(folder ${PROJECT_SOURCE_DIR}/${ARG_FOLDER})
  set(output ${PROJECT_BINARY_DIR}/generated/${ARG_FUNCTION}.cpp)
  file(GLOB files CONFIGURE_DEPENDS ${folder}/${ARG_PATTERN})
  # A file that goes makes none of the others newer: the list itself is a dependency.
  set(list ${PROJECT_BINARY_DIR}/generated/${ARG_FUNCTION}.list)
  file(GENERATE OUTPUT ${list} CONTENT "$<JOIN:${files},\n>\n")
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -D FOLDER=${folder} -D PATTERN=${ARG_PATTERN} -D HEADER=${ARG_HEADER}
      -D FUNCTION=${ARG_FUNCTION} -D OUTPUT_FILE=${output}
      -P ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
    DEPENDS ${files} ${list} ${PROJECT_SOURCE_DIR}/cmake/embed_files.cmake
    COMMENT "Embedding ${ARG_FOLDER}"
    VERBATIM)
  set(${out_variable} ${output} PARENT_SCOPE)
endfunction()
