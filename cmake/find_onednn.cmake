# Finds oneDNN >= 3.2 and offers it as `treadle_onednn_sdk`: first the copy that
# `./dev` unpacks under the release build folder, then the system's.
# -D TREADLE_ONEDNN_ROOT=... chooses another one.
set(TREADLE_ONEDNN_ROOT ${PROJECT_SOURCE_DIR}/build/third_party/onednn
  CACHE PATH "Folder of an unpacked oneDNN: include/, lib/")
find_package(dnnl 3.2 CONFIG QUIET
  PATHS ${TREADLE_ONEDNN_ROOT} ${TREADLE_ONEDNN_ROOT}/lib/cmake/dnnl NO_DEFAULT_PATH)
if(NOT dnnl_FOUND)
  find_package(dnnl 3.2 CONFIG QUIET)
endif()
if(NOT dnnl_FOUND)
  message(FATAL_ERROR "Treadle needs oneDNN 3.2 or newer; `./dev build` fetches it, "
    "or pass -D TREADLE_ONEDNN_ROOT=<folder>.")
endif()
message(STATUS "oneDNN ${dnnl_VERSION} in ${dnnl_DIR}")

# The library depends on an OpenMP runtime, libgomp, and we tell that one to stay
# on the calling thread. g++ links it with -fopenmp; other compilers bring a
# runtime of their own, so there g++'s is named.
add_library(treadle_onednn_sdk INTERFACE)
target_link_libraries(treadle_onednn_sdk INTERFACE DNNL::dnnl)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_link_libraries(treadle_onednn_sdk INTERFACE OpenMP::OpenMP_CXX)
else()
  target_link_libraries(treadle_onednn_sdk INTERFACE gomp)
endif()
