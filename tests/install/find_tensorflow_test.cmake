# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# cmake -DCASE=... -DMODULE_DIR=... -DWORK_DIR=... -P find_tensorflow_test.cmake
#
# Tests of FindTensorFlow.cmake, one case at a time, on TensorFlows that are
# trees of empty files, with a home, a Python and a pip of the test's own. No
# network is used.

cmake_minimum_required(VERSION 3.25)

set(probe "${CMAKE_CURRENT_LIST_DIR}/find_tensorflow_probe.cmake")
set(cache "${WORK_DIR}/home/.cache/tftrain")
set(fetched "${cache}/tensorflow-cpu-2.21.0")

# make_tensorflow(FOLDER VERSION): a package as a wheel unpacks it.
function(make_tensorflow folder version)
  foreach(file libtensorflow_cc.so.2 libtensorflow_framework.so.2
          include/tensorflow/core/public/session.h)
    file(WRITE "${folder}/tensorflow/${file}" "")
  endforeach()
  if(version)
    file(WRITE "${folder}/tensorflow_cpu-${version}.dist-info/METADATA" "")
    file(WRITE "${folder}/tensorflow_hub-9.9.9.dist-info/METADATA" "")
  endif()
endfunction()

# make_python(PACKAGE): a python3 whose tensorflow package is that folder, and
# whose pip answers `download` with a wheel, or fails if there is none.
function(make_python package)
  file(WRITE "${WORK_DIR}/bin/python3" "#!/bin/sh
case \"$*\" in
  '-c '*) echo '${package}' ;;
  *'pip --version') ;;
  *'pip download'*)
    echo call >> '${WORK_DIR}/pip_calls'
    for folder; do :; done
    cp '${WORK_DIR}/tensorflow_cpu-2.21.0.whl' \"$folder\" ;;
  *) exit 1 ;;
esac
")
  file(CHMOD "${WORK_DIR}/bin/python3"
       PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()

# make_wheel(): the wheel that the fake pip has.
function(make_wheel)
  make_tensorflow("${WORK_DIR}/wheel" 2.21.0)
  file(WRITE "${WORK_DIR}/wheel/tensorflow/python/huge.py" "")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -E tar cf
            "${WORK_DIR}/tensorflow_cpu-2.21.0.whl" --format=zip
            tensorflow tensorflow_cpu-2.21.0.dist-info
    WORKING_DIRECTORY "${WORK_DIR}/wheel" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(environment --unset=TENSORFLOW_ROOT --unset=VIRTUAL_ENV
    --unset=XDG_CACHE_HOME "HOME=${WORK_DIR}/home"
    "PATH=${WORK_DIR}/bin:/usr/bin:/bin")

# find([-DNAME=VALUE...]): runs the finder; sets `output`, as one line, and
# `failed`.
function(find)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -E env ${environment} "${CMAKE_COMMAND}"
            "-DMODULE_DIR=${MODULE_DIR}" ${ARGN} -P "${probe}"
    WORKING_DIRECTORY "${WORK_DIR}/build"
    RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  set(output "${output}" PARENT_SCOPE)
  set(failed "${failed}" PARENT_SCOPE)
endfunction()

function(expect_found version folder)
  if(failed OR NOT output MATCHES "found ${version} in ${folder} $")
    message(FATAL_ERROR
            "expected ${version} in ${folder}, got (${failed}): ${output}")
  endif()
endfunction()

function(expect_output regex)
  if(NOT output MATCHES "${regex}")
    message(FATAL_ERROR "expected \"${regex}\", got (${failed}): ${output}")
  endif()
endfunction()

function(expect_failure regex)
  if(NOT failed)
    message(FATAL_ERROR "expected a failure, got: ${output}")
  endif()
  expect_output("${regex}")
endfunction()

function(expect_pip_calls expected)
  set(calls "")
  if(EXISTS "${WORK_DIR}/pip_calls")
    file(STRINGS "${WORK_DIR}/pip_calls" calls)
  endif()
  list(LENGTH calls count)
  if(NOT count EQUAL expected)
    message(FATAL_ERROR "pip was called ${count} times, not ${expected}")
  endif()
endfunction()

function(expect_files expected folder)
  file(GLOB_RECURSE files RELATIVE "${folder}" "${folder}/*")
  if(NOT "${files}" STREQUAL "${expected}")
    message(FATAL_ERROR "${folder} holds ${files}, not ${expected}")
  endif()
endfunction()

file(REMOVE_RECURSE "${WORK_DIR}")
file(MAKE_DIRECTORY "${WORK_DIR}/home" "${WORK_DIR}/build")
make_python("")
set(root "${WORK_DIR}/root")

if(CASE STREQUAL "takes_the_root_that_is_named")
  make_tensorflow("${root}" 2.16.0)
  find("-DTENSORFLOW_ROOT=${root}/tensorflow")
  expect_found(2.16.0 "${root}/tensorflow")
  find("-DTENSORFLOW_ROOT=${root}")
  expect_found(2.16.0 "${root}/tensorflow")

elseif(CASE STREQUAL "takes_the_root_from_the_environment")
  make_tensorflow("${root}" 2.18.1)
  list(APPEND environment "TENSORFLOW_ROOT=${root}")
  find()
  expect_found(2.18.1 "${root}/tensorflow")

elseif(CASE STREQUAL "takes_a_virtual_environment_as_root")
  set(site_packages "${root}/lib/python3.12/site-packages")
  make_tensorflow("${site_packages}" 2.20.0)
  find("-DTENSORFLOW_ROOT=${root}")
  expect_found(2.20.0 "${site_packages}/tensorflow")

elseif(CASE STREQUAL "rejects_a_root_of_another_version")
  make_tensorflow("${root}" 2.15.0)
  find("-DTENSORFLOW_ROOT=${root}")
  expect_failure("TensorFlow in ${root}/tensorflow is version 2.15.0, and only \
versions 2.16 to 2.21 are accepted: name another")
  make_tensorflow("${root}-next" 2.22.0)
  find("-DTENSORFLOW_ROOT=${root}-next")
  expect_failure("is version 2.22.0, and only")

elseif(CASE STREQUAL "rejects_a_root_without_the_library")
  make_tensorflow("${root}" 2.21.0)
  file(REMOVE "${root}/tensorflow/libtensorflow_cc.so.2")
  find("-DTENSORFLOW_ROOT=${root}")
  expect_failure("TENSORFLOW_ROOT is \"${root}\", and there is no \
libtensorflow_cc.so.2 in it")

elseif(CASE STREQUAL "rejects_a_root_without_headers")
  make_tensorflow("${root}" 2.21.0)
  file(REMOVE_RECURSE "${root}/tensorflow/include")
  find("-DTENSORFLOW_ROOT=${root}")
  expect_failure("holds no include/tensorflow/core/public/session.h")

elseif(CASE STREQUAL "reads_the_version_from_headers")
  make_tensorflow("${root}" "")
  file(WRITE "${root}/tensorflow/include/tensorflow/core/public/version.h" "
#define TF_MAJOR_VERSION 2
#define TF_MINOR_VERSION 17
#define TF_PATCH_VERSION 1
")
  find("-DTENSORFLOW_ROOT=${root}")
  expect_found(2.17.1 "${root}/tensorflow")

elseif(CASE STREQUAL "reads_the_version_from_the_library")
  make_tensorflow("${root}" "")
  find("-DTENSORFLOW_ROOT=${root}")
  expect_failure("does not tell its version")
  file(WRITE "${root}/tensorflow/libtensorflow_framework.so.2"
       "text\n2.0.3\n2.21.0\nmore text\n")
  find("-DTENSORFLOW_ROOT=${root}")
  expect_found(2.21.0 "${root}/tensorflow")

elseif(CASE STREQUAL "prefers_the_root_to_python")
  make_tensorflow("${root}" 2.19.0)
  make_tensorflow("${WORK_DIR}/python" 2.20.0)
  make_python("${WORK_DIR}/python/tensorflow")
  find("-DTENSORFLOW_ROOT=${root}")
  expect_found(2.19.0 "${root}/tensorflow")

elseif(CASE STREQUAL "prefers_python_to_the_cache")
  make_tensorflow("${WORK_DIR}/python" 2.20.0)
  make_python("${WORK_DIR}/python/tensorflow")
  make_tensorflow("${fetched}" 2.21.0)
  find()
  expect_found(2.20.0 "${WORK_DIR}/python/tensorflow")

elseif(CASE STREQUAL "passes_over_a_python_package_of_another_version")
  make_tensorflow("${WORK_DIR}/python" 2.15.1)
  make_python("${WORK_DIR}/python/tensorflow")
  make_tensorflow("${fetched}" 2.21.0)
  find()
  expect_output("-- TensorFlow in ${WORK_DIR}/python/tensorflow is passed \
over: it is version 2.15.1, and only versions 2.16 to 2.21 are accepted")
  expect_found(2.21.0 "${fetched}/tensorflow")

elseif(CASE STREQUAL "passes_over_a_python_package_without_the_library")
  make_tensorflow("${WORK_DIR}/python" 2.21.0)
  file(REMOVE "${WORK_DIR}/python/tensorflow/libtensorflow_cc.so.2")
  make_python("${WORK_DIR}/python/tensorflow")
  make_tensorflow("${fetched}" 2.21.0)
  find()
  expect_output("is passed over: it holds no libtensorflow_cc.so.2")
  expect_found(2.21.0 "${fetched}/tensorflow")

elseif(CASE STREQUAL "keeps_what_was_found_before")
  make_tensorflow("${root}" 2.19.0)
  make_tensorflow("${WORK_DIR}/python" 2.20.0)
  make_python("${WORK_DIR}/python/tensorflow")
  find("-DTensorFlow_ROOT_DIR=${root}/tensorflow")
  expect_found(2.19.0 "${root}/tensorflow")

elseif(CASE STREQUAL "looks_again_when_what_was_found_is_gone")
  make_tensorflow("${WORK_DIR}/python" 2.20.0)
  make_python("${WORK_DIR}/python/tensorflow")
  find("-DTensorFlow_ROOT_DIR=${root}/tensorflow")
  expect_found(2.20.0 "${WORK_DIR}/python/tensorflow")

elseif(CASE STREQUAL "fetches_once_and_deletes_the_wheel")
  make_wheel()
  find()
  expect_found(2.21.0 "${fetched}/tensorflow")
  expect_files("tensorflow/include/tensorflow/core/public/session.h;\
tensorflow/libtensorflow_cc.so.2;tensorflow/libtensorflow_framework.so.2;\
tensorflow_cpu-2.21.0.dist-info/METADATA" "${fetched}")
  find()
  expect_found(2.21.0 "${fetched}/tensorflow")
  expect_pip_calls(1)

elseif(CASE STREQUAL "fetches_once_when_two_configure_at_once")
  make_wheel()
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -E env ${environment} sh -c
            "\"$@\" > 1 2>&1 & \"$@\" > 2 2>&1 && wait $! && cat 1 2" sh
            "${CMAKE_COMMAND}" "-DMODULE_DIR=${MODULE_DIR}" -P "${probe}"
    WORKING_DIRECTORY "${WORK_DIR}/build"
    RESULT_VARIABLE failed OUTPUT_VARIABLE output)
  string(REGEX MATCHALL "found 2.21.0 in ${fetched}/tensorflow" found
         "${output}")
  list(LENGTH found count)
  if(failed OR NOT count EQUAL 2)
    message(FATAL_ERROR "two at once (${failed}): ${output}")
  endif()
  expect_pip_calls(1)

elseif(CASE STREQUAL "leaves_nothing_when_the_fetch_fails")
  find()
  expect_failure("No TensorFlow 2.16 to 2.21 with its C.. library was found, \
and pip could not fetch it: cp: .*Set TENSORFLOW_ROOT to the folder")
  file(GLOB left RELATIVE "${cache}" "${cache}/tensorflow*")
  if(NOT left STREQUAL "tensorflow-cpu-2.21.0.lock")
    message(FATAL_ERROR "a failed fetch left ${left}")
  endif()

elseif(CASE STREQUAL "does_not_use_an_interrupted_fetch")
  make_wheel()
  file(WRITE "${fetched}.tmp/tensorflow/libtensorflow_cc.so.2" "half")
  file(WRITE "${fetched}.tmp/wheel/tensorflow_cpu-2.21.0.whl" "half")
  file(WRITE "${fetched}.lock" "")
  find()
  expect_found(2.21.0 "${fetched}/tensorflow")
  file(READ "${fetched}/tensorflow/libtensorflow_cc.so.2" library)
  if(library OR EXISTS "${fetched}.tmp")
    message(FATAL_ERROR "something of the interrupted fetch is still there")
  endif()

elseif(CASE STREQUAL "does_not_fetch_when_forbidden")
  make_wheel()
  find(-DTENSORFLOW_FETCH=OFF)
  expect_failure("was found, and TENSORFLOW_FETCH is off. Set TENSORFLOW_ROOT")
  expect_pip_calls(0)

elseif(CASE STREQUAL "keeps_the_fetched_in_the_build_without_a_home")
  make_wheel()
  list(REMOVE_ITEM environment "HOME=${WORK_DIR}/home")
  list(APPEND environment "HOME=")
  find()
  expect_output("No home folder can be written, so TensorFlow is kept in this \
build folder alone: ${WORK_DIR}/build/cache")
  expect_found(2.21.0
               "${WORK_DIR}/build/cache/tensorflow-cpu-2.21.0/tensorflow")

elseif(CASE STREQUAL "finds_the_exact_version_that_is_asked_for")
  make_tensorflow("${WORK_DIR}/python" 2.20.0)
  make_python("${WORK_DIR}/python/tensorflow")
  make_tensorflow("${fetched}" 2.21.0)
  find(-DEXACT=2.21.0)
  expect_output("is passed over: it is version 2.20.0, and version 2.21.0 is \
needed")
  expect_found(2.21.0 "${fetched}/tensorflow")

elseif(CASE STREQUAL "says_so_when_the_exact_version_cannot_be_fetched")
  make_wheel()
  find(-DEXACT=2.19.1)
  expect_failure("only version 2.21.0 can be fetched, and version 2.19.1 is \
needed")
  expect_pip_calls(0)

else()
  message(FATAL_ERROR "there is no case \"${CASE}\"")
endif()
