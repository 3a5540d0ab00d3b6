# frontend/std/*.tdl become string literals of treadle_frontend, declared in
# frontend/standard_library.h. Included by CMakeLists.txt it sets up the build
# rule; run with `cmake -P` it writes the file.
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB files ${SOURCE_FOLDER}/*.tdl)
  list(SORT files)
  set(literals)
  set(count 0)
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME)
    file(READ ${file} text)
    string(APPEND literals "    EmbeddedFile{\"${name}\", R\"tdl(${text})tdl\"},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  file(WRITE ${OUTPUT_FILE} "// Written by cmake/embed_standard_library.cmake from frontend/std/*.tdl.
#include \"frontend/standard_library.h\"

#include <array>

namespace treadle {

std::span<const EmbeddedFile> standard_library_files() {
  static constexpr std::array<EmbeddedFile, ${count}> files{
${literals}  };
  return files;
}

}  // namespace treadle
")
  return()
endif()

set(STANDARD_LIBRARY_CPP ${PROJECT_BINARY_DIR}/generated/frontend/standard_library.cpp)
file(GLOB standard_library_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/frontend/std/*.tdl)
add_custom_command(
  OUTPUT ${STANDARD_LIBRARY_CPP}
  COMMAND ${CMAKE_COMMAND} -D SOURCE_FOLDER=${PROJECT_SOURCE_DIR}/frontend/std
    -D OUTPUT_FILE=${STANDARD_LIBRARY_CPP}
    -P ${PROJECT_SOURCE_DIR}/cmake/embed_standard_library.cmake
  DEPENDS ${standard_library_sources} ${PROJECT_SOURCE_DIR}/cmake/embed_standard_library.cmake
  COMMENT "Embedding the standard library"
  VERBATIM)
