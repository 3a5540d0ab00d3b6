# treadle_source_id(OUT_VARIABLE FOLDERS f... HEADER h FUNCTION g): the generated
# source, named in OUT_VARIABLE, defines `std::string_view g()`, which the header
# h declares: a hash of the C++ files in those folders. Included by CMakeLists.txt
# this file sets up the build rule; run with `cmake -P` it writes the source.
if(CMAKE_SCRIPT_MODE_FILE)
  file(STRINGS ${LIST} files)
  set(hashes)
  foreach(file IN LISTS files)
    file(SHA256 ${file} hash)
    string(APPEND hashes ${hash})
  endforeach()
  string(SHA256 id "${hashes}")
  string(SUBSTRING ${id} 0 32 id)
  file(WRITE ${OUTPUT_FILE} "// Written by cmake/source_id.cmake.
#include \"${HEADER}\"

namespace treadle {

std::string_view ${FUNCTION}() { return \"${id}\"; }

}  // namespace treadle
")
  return()
endif()

function(treadle_source_id out_variable)
  cmake_parse_arguments(ARG "" "HEADER;FUNCTION" "FOLDERS" ${ARGN})
  set(files)
  foreach(folder IN LISTS ARG_FOLDERS)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cpp
      ${PROJECT_SOURCE_DIR}/${folder}/*.h ${PROJECT_SOURCE_DIR}/${folder}/*.def)
    list(APPEND files ${found})
  endforeach()
  set(output ${PROJECT_BINARY_DIR}/generated/${ARG_FUNCTION}.cpp)
  set(list ${PROJECT_BINARY_DIR}/generated/${ARG_FUNCTION}.list)
  file(GENERATE OUTPUT ${list} CONTENT "$<JOIN:${files},\n>\n")
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -D LIST=${list} -D HEADER=${ARG_HEADER} -D FUNCTION=${ARG_FUNCTION}
      -D OUTPUT_FILE=${output} -P ${PROJECT_SOURCE_DIR}/cmake/source_id.cmake
    DEPENDS ${files} ${list} ${PROJECT_SOURCE_DIR}/cmake/source_id.cmake
    COMMENT "Hashing the compiler's sources"
    VERBATIM)
  set(${out_variable} ${output} PARENT_SCOPE)
endfunction()
