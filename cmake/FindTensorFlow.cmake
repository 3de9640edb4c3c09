# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Finds TensorFlow's C++ runtime: libtensorflow_cc.so.2,
# libtensorflow_framework.so.2 and the headers, as TensorFlow's Python wheels
# ship them. Python itself is not needed to build or to run.
#
# Looked at in this order; the first that fits is taken:
#   1. TENSORFLOW_ROOT, a CMake variable or an environment variable: the folder
#      that holds libtensorflow_cc.so.2, the folder above it, or the prefix of
#      a virtual environment. Something unfit there is an error.
#   2. TensorFlow_ROOT_DIR, what an earlier run in this build folder found, so
#      that a build folder keeps its TensorFlow.
#   3. The `tensorflow` package of Python_EXECUTABLE, of VIRTUAL_ENV and of the
#      python3 in PATH. It is located, never imported.
#   4. The wheel named in requirements-tensorflow.txt, fetched with pip into
#      ${XDG_CACHE_HOME:-$HOME/.cache}/tftrain once for all build folders.
#
# Variables read:
#   TENSORFLOW_ROOT   see above
#   TENSORFLOW_FETCH  OFF forbids step 4 to use the network; the default is ON
# Variables set:
#   TensorFlow_FOUND, TensorFlow_VERSION, TensorFlow_ROOT_DIR (the folder that
#   holds the libraries), TensorFlow_INCLUDE_DIR
# Targets made:
#   TensorFlow::cc         everything, sessions and kernels included
#   TensorFlow::framework  the small library: absl, protobuf, tensors; no
#                          session can be made with it alone
#
# In a script (cmake -P) only the search is done, without targets.

set(_tensorflow_oldest 2.16)
set(_tensorflow_beyond 2.22)
set(_tensorflow_range "2.16 to 2.21")
set(_tensorflow_requirements
    "${CMAKE_CURRENT_LIST_DIR}/requirements-tensorflow.txt")

set(TENSORFLOW_ROOT "" CACHE PATH
    "Folder that holds libtensorflow_cc.so.2, or a virtual environment")
option(TENSORFLOW_FETCH "Fetch TensorFlow with pip when none is found" ON)

# Sets `result` to the first of the places below `root` that holds
# libtensorflow_cc.so.2, or to nothing.
function(_tensorflow_folder_below root result)
  file(GLOB in_environment LIST_DIRECTORIES true
       "${root}/lib*/python3*/site-packages/tensorflow")
  foreach(folder "${root}" "${root}/tensorflow" ${in_environment})
    if(EXISTS "${folder}/libtensorflow_cc.so.2")
      file(REAL_PATH "${folder}" folder)
      set(${result} "${folder}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(${result} "" PARENT_SCOPE)
endfunction()

# Sets `result` to the version of the TensorFlow in `folder`, or to nothing:
# from the package's metadata beside it, else from its headers (up to 2.20),
# else from the text within its library.
function(_tensorflow_version_of folder result)
  set(versions "")
  file(GLOB metadata RELATIVE "${folder}/.." "${folder}/../*.dist-info")
  foreach(name IN LISTS metadata)
    if(name MATCHES "^tensorflow(_cpu|_gpu|_intel|_rocm|_cpu_aws)?-\
([0-9]+\\.[0-9]+\\.[0-9]+)")
      list(APPEND versions "${CMAKE_MATCH_2}")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES versions)
  list(LENGTH versions count)
  if(count EQUAL 1)
    set(${result} "${versions}" PARENT_SCOPE)
    return()
  endif()

  set(version "")
  foreach(header release_version.h version.h)
    set(header "${folder}/include/tensorflow/core/public/${header}")
    if(NOT EXISTS "${header}")
      continue()
    endif()
    set(version "")
    foreach(part MAJOR MINOR PATCH)
      file(STRINGS "${header}" line REGEX "#define TF_${part}_VERSION +[0-9]+")
      if(line MATCHES "([0-9]+) *$")
        list(APPEND version "${CMAKE_MATCH_1}")
      endif()
    endforeach()
    list(LENGTH version count)
    if(count EQUAL 3)
      list(JOIN version "." version)
      set(${result} "${version}" PARENT_SCOPE)
      return()
    endif()
  endforeach()

  set(version "")
  set(library "${folder}/libtensorflow_framework.so.2")
  if(EXISTS "${library}")
    file(STRINGS "${library}" version REGEX "^2\\.[1-9][0-9]\\.[0-9]+$"
         LIMIT_COUNT 1)
  endif()
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

# Sets `problem` to what is wrong with the TensorFlow in `folder`, or to
# nothing, and `version` to its version.
function(_tensorflow_check folder version problem)
  set(${version} "" PARENT_SCOPE)
  foreach(file libtensorflow_cc.so.2 libtensorflow_framework.so.2
          include/tensorflow/core/public/session.h)
    if(NOT EXISTS "${folder}/${file}")
      set(${problem} "holds no ${file}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  _tensorflow_version_of("${folder}" found)
  set(${version} "${found}" PARENT_SCOPE)
  if(NOT found)
    set(${problem} "does not tell its version" PARENT_SCOPE)
  elseif(found VERSION_LESS _tensorflow_oldest
         OR found VERSION_GREATER_EQUAL _tensorflow_beyond)
    set(${problem} "is version ${found}, and only versions \
${_tensorflow_range} are accepted" PARENT_SCOPE)
  elseif(TensorFlow_FIND_VERSION_EXACT
         AND NOT found VERSION_EQUAL TensorFlow_FIND_VERSION)
    set(${problem} "is version ${found}, and version \
${TensorFlow_FIND_VERSION} is needed" PARENT_SCOPE)
  else()
    set(${problem} "" PARENT_SCOPE)
  endif()
endfunction()

# Sets `result` to the Python programs to ask, best first.
function(_tensorflow_pythons result)
  set(pythons "")
  foreach(python "${Python_EXECUTABLE}" "${Python3_EXECUTABLE}"
          "$ENV{VIRTUAL_ENV}/bin/python")
    if(IS_ABSOLUTE "${python}" AND EXISTS "${python}")
      list(APPEND pythons "${python}")
    endif()
  endforeach()
  find_program(_tensorflow_python3 python3 NO_CACHE)
  if(_tensorflow_python3)
    list(APPEND pythons "${_tensorflow_python3}")
  endif()
  list(REMOVE_DUPLICATES pythons)
  set(${result} "${pythons}" PARENT_SCOPE)
endfunction()

# Sets `folder` and `version` to the first fitting `tensorflow` package of an
# installed Python, or to nothing; says why others were passed over.
function(_tensorflow_in_pythons folder version)
  set(${folder} "" PARENT_SCOPE)
  set(${version} "" PARENT_SCOPE)
  set(script "import sys, importlib.util as u
sys.path = [p for p in sys.path if p]
s = u.find_spec('tensorflow')
print('\\n'.join((s and s.submodule_search_locations) or []))")
  _tensorflow_pythons(pythons)
  foreach(python IN LISTS pythons)
    execute_process(COMMAND "${python}" -c "${script}" OUTPUT_VARIABLE places
                    ERROR_QUIET RESULT_VARIABLE failed
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(failed)
      continue()
    endif()
    string(REPLACE "\n" ";" places "${places}")
    foreach(place IN LISTS places)
      file(REAL_PATH "${place}" place)
      _tensorflow_check("${place}" found problem)
      if(problem)
        message(STATUS "TensorFlow in ${place} is passed over: it ${problem}")
        continue()
      endif()
      set(${folder} "${place}" PARENT_SCOPE)
      set(${version} "${found}" PARENT_SCOPE)
      return()
    endforeach()
  endforeach()
endfunction()

# Sets `result` to the per-user cache folder, made if need be, or to a folder
# of this build when the user has none that can be written.
function(_tensorflow_cache_folder result)
  set(folder "")
  if(IS_ABSOLUTE "$ENV{XDG_CACHE_HOME}")
    set(folder "$ENV{XDG_CACHE_HOME}/tftrain")
  elseif(IS_ABSOLUTE "$ENV{HOME}")
    set(folder "$ENV{HOME}/.cache/tftrain")
  endif()
  if(folder)
    execute_process(COMMAND "${CMAKE_COMMAND}" -E make_directory "${folder}"
                    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    execute_process(COMMAND "${CMAKE_COMMAND}" -E touch "${folder}/.writable"
                    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(NOT failed)
      set(${result} "${folder}" PARENT_SCOPE)
      return()
    endif()
  endif()
  set(folder "${CMAKE_BINARY_DIR}/cache")
  message(STATUS "No home folder can be written, so TensorFlow is kept in this "
                 "build folder alone: ${folder}")
  file(MAKE_DIRECTORY "${folder}")
  set(${result} "${folder}" PARENT_SCOPE)
endfunction()

# Fetches the wheel with pip into `folder` and sets `problem` to what went
# wrong, or to nothing.
function(_tensorflow_download folder problem)
  set(${problem} "" PARENT_SCOPE)
  set(with_pip "")
  _tensorflow_pythons(pythons)
  foreach(python IN LISTS pythons ITEMS /usr/bin/python3)
    execute_process(COMMAND "${python}" -m pip --version OUTPUT_QUIET
                    ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
      set(with_pip "${python}")
      break()
    endif()
  endforeach()
  if(NOT with_pip)
    set(${problem} "there is no python3 with pip to fetch it with (on Debian \
and Ubuntu: apt-get install python3-pip)" PARENT_SCOPE)
    return()
  endif()
  execute_process(
    COMMAND "${with_pip}" -m pip download --no-input --progress-bar off
            --disable-pip-version-check --no-deps --only-binary=:all:
            --python-version 311 --implementation cp --abi cp311
            --platform manylinux_2_27_x86_64
            --require-hashes -r "${_tensorflow_requirements}" -d "${folder}"
    OUTPUT_QUIET ERROR_VARIABLE errors RESULT_VARIABLE failed)
  if(failed)
    string(STRIP "${errors}" errors)
    set(${problem} "pip could not fetch it: ${errors}" PARENT_SCOPE)
  endif()
endfunction()

# Sets `folder` to the fetched TensorFlow, which is fetched now if this user
# has not got it, or `problem` to the reason why there is none.
function(_tensorflow_fetched folder problem)
  set(${folder} "" PARENT_SCOPE)
  set(${problem} "" PARENT_SCOPE)
  file(STRINGS "${_tensorflow_requirements}" pin REGEX "^tensorflow-cpu==")
  string(REGEX REPLACE "^tensorflow-cpu==([0-9.]+).*" "\\1" version "${pin}")
  if(TensorFlow_FIND_VERSION_EXACT
     AND NOT version VERSION_EQUAL TensorFlow_FIND_VERSION)
    set(${problem} "only version ${version} can be fetched, and version \
${TensorFlow_FIND_VERSION} is needed" PARENT_SCOPE)
    return()
  endif()
  cmake_host_system_information(RESULT machine QUERY OS_PLATFORM)
  if(NOT machine STREQUAL "x86_64")
    set(${problem} "the TensorFlow that can be fetched is for x86_64, and this \
machine is ${machine}" PARENT_SCOPE)
    return()
  endif()

  _tensorflow_cache_folder(cache)
  set(home "${cache}/tensorflow-cpu-${version}")
  if(EXISTS "${home}")
    set(${folder} "${home}/tensorflow" PARENT_SCOPE)
    return()
  endif()
  if(NOT TENSORFLOW_FETCH)
    set(${problem} "TENSORFLOW_FETCH is off" PARENT_SCOPE)
    return()
  endif()

  # One configure run fetches, others wait for it. What is there under the
  # final name is complete, since a folder gets that name last of all.
  file(LOCK "${home}.lock" GUARD FUNCTION TIMEOUT 3600 RESULT_VARIABLE locked)
  if(NOT locked STREQUAL "0")
    set(${problem} "${home}.lock cannot be locked: ${locked}" PARENT_SCOPE)
    return()
  endif()
  if(NOT EXISTS "${home}")
    message(STATUS "Fetching TensorFlow ${version} (a download of 275 MB, once "
                   "for this user) into ${home}")
    set(unfinished "${home}.tmp")
    file(REMOVE_RECURSE "${unfinished}")
    file(MAKE_DIRECTORY "${unfinished}/wheel")
    _tensorflow_download("${unfinished}/wheel" failure)
    if(failure)
      file(REMOVE_RECURSE "${unfinished}")
      set(${problem} "${failure}" PARENT_SCOPE)
      return()
    endif()
    message(STATUS "Unpacking the libraries and headers of TensorFlow")
    file(GLOB wheel "${unfinished}/wheel/tensorflow*.whl")
    file(ARCHIVE_EXTRACT INPUT "${wheel}" DESTINATION "${unfinished}"
         PATTERNS "tensorflow/include/*" "tensorflow/libtensorflow_cc.so.2"
                  "tensorflow/libtensorflow_framework.so.2"
                  "tensorflow_cpu-*.dist-info/METADATA")
    file(REMOVE_RECURSE "${unfinished}/wheel")
    file(RENAME "${unfinished}" "${home}")
  endif()
  set(${folder} "${home}/tensorflow" PARENT_SCOPE)
endfunction()

# The search itself. Sets `folder` and `version`, or `problem`.
function(_tensorflow_search folder version problem)
  set(root "${TENSORFLOW_ROOT}")
  if(NOT root)
    set(root "$ENV{TENSORFLOW_ROOT}")
  endif()
  if(root)
    cmake_path(ABSOLUTE_PATH root BASE_DIRECTORY "${CMAKE_SOURCE_DIR}")
    _tensorflow_folder_below("${root}" place)
    if(NOT place)
      message(FATAL_ERROR
        "TENSORFLOW_ROOT is \"${root}\", and there is no libtensorflow_cc.so.2 "
        "in it, nor in a `tensorflow` folder below it: name the folder of an "
        "installed TensorFlow ${_tensorflow_range}, or leave it unset to have "
        "one found or fetched.")
    endif()
    _tensorflow_check("${place}" found failure)
    if(failure)
      message(FATAL_ERROR
        "TENSORFLOW_ROOT is \"${root}\", but the TensorFlow in ${place} "
        "${failure}: name another, or leave TENSORFLOW_ROOT unset to have one "
        "found or fetched.")
    endif()
  else()
    set(place "")
    if(TensorFlow_ROOT_DIR)
      _tensorflow_check("${TensorFlow_ROOT_DIR}" found failure)
      if(NOT failure)
        set(place "${TensorFlow_ROOT_DIR}")
      endif()
    endif()
    if(NOT place)
      _tensorflow_in_pythons(place found)
    endif()
    if(NOT place)
      _tensorflow_fetched(place failure)
      if(place)
        _tensorflow_check("${place}" found failure)
        if(failure)
          string(PREPEND failure "the TensorFlow in ${place} ")
          string(APPEND failure "; remove that folder to have it fetched again")
        endif()
      endif()
      if(failure)
        set(${problem} "${failure}" PARENT_SCOPE)
        return()
      endif()
    endif()
  endif()
  set(${folder} "${place}" PARENT_SCOPE)
  set(${version} "${found}" PARENT_SCOPE)
  set(${problem} "" PARENT_SCOPE)
endfunction()

_tensorflow_search(_tensorflow_folder TensorFlow_VERSION _tensorflow_problem)
if(_tensorflow_problem)
  set(TensorFlow_FOUND FALSE)
  set(TensorFlow_NOT_FOUND_MESSAGE
      "No TensorFlow ${_tensorflow_range} with its C++ library was found, and \
${_tensorflow_problem}. Set TENSORFLOW_ROOT to the folder that holds \
libtensorflow_cc.so.2.")
  if(TensorFlow_FIND_REQUIRED)
    message(FATAL_ERROR "${TensorFlow_NOT_FOUND_MESSAGE}")
  elseif(NOT TensorFlow_FIND_QUIETLY)
    message(STATUS "${TensorFlow_NOT_FOUND_MESSAGE}")
  endif()
  return()
endif()

set(TensorFlow_FOUND TRUE)
set(TensorFlow_ROOT_DIR "${_tensorflow_folder}" CACHE PATH
    "The TensorFlow that was found" FORCE)
mark_as_advanced(TensorFlow_ROOT_DIR)
set(TensorFlow_INCLUDE_DIR "${TensorFlow_ROOT_DIR}/include")
if(NOT TensorFlow_FIND_QUIETLY)
  message(STATUS "TensorFlow ${TensorFlow_VERSION}: ${TensorFlow_ROOT_DIR}")
endif()

# The definitions are those of the library's own build: with others, classes of
# its headers have another layout than in the library. Without NDEBUG an EdgeSet
# of a graph counts its changes; under address sanitizer, but for
# NDEBUG_SANITIZER, Abseil's hash tables count generations; without
# EIGEN_MAX_ALIGN_BYTES a tensor's alignment follows the compiler's flags.
#
# Global, since a library that links them may be linked from anywhere.
if(NOT CMAKE_SCRIPT_MODE_FILE AND NOT TARGET TensorFlow::framework)
  add_library(TensorFlow::framework SHARED IMPORTED GLOBAL)
  set_target_properties(TensorFlow::framework PROPERTIES
    IMPORTED_LOCATION "${TensorFlow_ROOT_DIR}/libtensorflow_framework.so.2"
    INTERFACE_INCLUDE_DIRECTORIES "${TensorFlow_INCLUDE_DIR}"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${TensorFlow_INCLUDE_DIR}"
    INTERFACE_COMPILE_FEATURES cxx_std_17
    INTERFACE_COMPILE_DEFINITIONS
      "_GLIBCXX_USE_CXX11_ABI=1;EIGEN_MAX_ALIGN_BYTES=64;NDEBUG;NDEBUG_SANITIZER")
  # Sessions and kernels register themselves while this library is loaded, so
  # it must be kept even if the program names no symbol of it.
  add_library(TensorFlow::cc SHARED IMPORTED GLOBAL)
  set_target_properties(TensorFlow::cc PROPERTIES
    IMPORTED_LOCATION "${TensorFlow_ROOT_DIR}/libtensorflow_cc.so.2"
    INTERFACE_LINK_OPTIONS "LINKER:--no-as-needed"
    INTERFACE_LINK_LIBRARIES TensorFlow::framework)
endif()
