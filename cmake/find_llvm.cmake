# Finds the newest LLVM >= 19 that is installed and offers it as
# `treadle_llvm_sdk`: LLVM's own headers (as system headers) and its shared
# library. -D LLVM_DIR=... chooses another one.
if(NOT LLVM_DIR)
  file(GLOB llvm_config_dirs /usr/lib/llvm-*/lib/cmake/llvm /usr/local/lib/cmake/llvm)
  list(SORT llvm_config_dirs COMPARE NATURAL ORDER DESCENDING)
endif()
find_package(LLVM CONFIG HINTS ${llvm_config_dirs} QUIET)
if(NOT LLVM_FOUND OR LLVM_VERSION_MAJOR LESS 19)
  message(FATAL_ERROR "Treadle needs LLVM 19 or newer with its headers; "
    "`./dev build` installs it, or pass -D LLVM_DIR=<folder of LLVMConfig.cmake>.")
endif()
message(STATUS "LLVM ${LLVM_PACKAGE_VERSION} in ${LLVM_DIR}")

add_library(treadle_llvm_sdk INTERFACE)
target_include_directories(treadle_llvm_sdk SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS})
separate_arguments(llvm_definitions NATIVE_COMMAND "${LLVM_DEFINITIONS}")
target_compile_definitions(treadle_llvm_sdk INTERFACE ${llvm_definitions})
if(LLVM_LINK_LLVM_DYLIB)
  target_link_libraries(treadle_llvm_sdk INTERFACE LLVM)
else()
  llvm_map_components_to_libnames(llvm_libraries core orcjit passes native)
  target_link_libraries(treadle_llvm_sdk INTERFACE ${llvm_libraries})
endif()
