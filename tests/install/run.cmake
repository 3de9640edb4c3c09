# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# cmake -DCASE=... -DSOURCE_DIR=... -DBUILD_DIR=... -DTENSORFLOW=... \
#       -DCOMPILER=... -DBUILD_TYPE=... -DWORK_DIR=... -P run.cmake
#
# CASE=consumer: installs BUILD_DIR into a fresh folder, builds the consumer
# against it without optimization, whatever BUILD_DIR has, runs it, and checks
# that another TensorFlow is refused.
# CASE=subproject: configures a project that adds tftrain as a folder. It is not
# built: that would compile the whole library a second time, for minutes, while
# what can go wrong (names, scopes, options) goes wrong when CMake generates.

function(run name)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE failed
                  OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(failed)
    message(FATAL_ERROR "${name} failed (${failed}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${WORK_DIR}")
file(MAKE_DIRECTORY "${WORK_DIR}")
set(settings -G Ninja -DCMAKE_BUILD_TYPE=${BUILD_TYPE}
             -DCMAKE_CXX_COMPILER=${COMPILER})
set(here "${SOURCE_DIR}/tests/install")

if(CASE STREQUAL "subproject")
  run("the configuration of a subproject" "${CMAKE_COMMAND}"
      -S "${here}/subproject" -B "${WORK_DIR}/build" ${settings}
      "-DTFTRAIN_SOURCE_DIR=${SOURCE_DIR}" "-DTENSORFLOW_ROOT=${TENSORFLOW}")
  return()
endif()

run("the installation" "${CMAKE_COMMAND}" --install "${BUILD_DIR}"
    --prefix "${WORK_DIR}/prefix")
# The headers are complete: what one includes is there, and no test is.
set(include "${WORK_DIR}/prefix/include")
file(GLOB_RECURSE headers RELATIVE "${include}" "${include}/tftrain/*")
if(NOT headers)
  message(FATAL_ERROR "no header was installed in ${include}")
endif()
foreach(header IN LISTS headers)
  if(header MATCHES "_test[._]")
    message(FATAL_ERROR "${header} belongs to a test and was installed")
  endif()
  file(STRINGS "${include}/${header}" lines REGEX "^ *# *include \"tftrain/")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE ".*\"(.*)\".*" "\\1" included "${line}")
    if(NOT EXISTS "${include}/${included}")
      message(FATAL_ERROR "${header} was installed without ${included}, which \
it includes: name it in the HDRS of its tftrain_cc_library")
    endif()
  endforeach()
endforeach()
set(settings ${settings} "-DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix")

run("the consumer's configuration" "${CMAKE_COMMAND}"
    -S "${here}/consumer" -B "${WORK_DIR}/build" ${settings}
    -DCMAKE_BUILD_TYPE=Debug)
run("the consumer's build" "${CMAKE_COMMAND}" --build "${WORK_DIR}/build")
run("the consumer" "${WORK_DIR}/build/consumer")
if(NOT output MATCHES "3 steps were run")
  message(FATAL_ERROR "the consumer printed: ${output}")
endif()

# Another TensorFlow than the one it was built with is refused in one sentence.
set(other "${WORK_DIR}/other")
foreach(file libtensorflow_cc.so.2 libtensorflow_framework.so.2
        include/tensorflow/core/public/session.h)
  file(WRITE "${other}/tensorflow/${file}" "")
endforeach()
file(MAKE_DIRECTORY "${other}/tensorflow_cpu-2.17.99.dist-info")
execute_process(
  COMMAND "${CMAKE_COMMAND}" -S "${here}/consumer" -B "${WORK_DIR}/refused"
          ${settings} "-DTENSORFLOW_ROOT=${other}"
  RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
string(REGEX REPLACE "[ \n]+" " " output "${output}")
if(NOT failed
   OR NOT output MATCHES "is version 2.17.99, and version [0-9.]+ is needed")
  message(FATAL_ERROR "another TensorFlow was not refused:\n${output}")
endif()
