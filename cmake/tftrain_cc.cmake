# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# One static library per layer, few test programs, one precompiled header.

include(GNUInstallDirs)

set(TFTRAIN_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wformat=2
    -Wno-sign-conversion -Wno-unused-parameter)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND TFTRAIN_WARNINGS -Wthread-safety)
endif()
if(TFTRAIN_WERROR)
  list(APPEND TFTRAIN_WARNINGS -Werror)
endif()

# What every target of the project compiles with; equal everywhere, so that
# all of them can share one precompiled header. Private, so that users of the
# library keep their own settings. -fPIC is given here rather than by CMake's
# property, which means -fPIE for programs, and a precompiled header serves one
# of the two only.
function(tftrain_compile_settings target)
  target_compile_features(${target} PUBLIC cxx_std_17)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -fPIC ${TFTRAIN_WARNINGS})
  if(NOT target STREQUAL "tftrain_pch")
    target_precompile_headers(${target} REUSE_FROM tftrain_pch)
  endif()
endfunction()

# tftrain_cc_library(NAME base SRCS a.cc HDRS a.h DEPS tftrain::x [NO_RUNTIME])
# makes the static library tftrain_<NAME> with the alias tftrain::<NAME>. HDRS
# are installed, so a header that another header includes must be among them,
# the ones in internal/ too. With NO_RUNTIME it links TensorFlow's small library
# only (absl, protobuf, tensors), and so do programs made of such libraries
# alone.
function(tftrain_cc_library)
  cmake_parse_arguments(ARG "NO_RUNTIME" "NAME" "SRCS;HDRS;DEPS" ${ARGN})
  set(target tftrain_${ARG_NAME})
  if(ARG_NO_RUNTIME)
    set(tensorflow TensorFlow::framework)
  else()
    set(tensorflow TensorFlow::cc)
  endif()
  add_library(${target} STATIC ${ARG_SRCS})
  add_library(tftrain::${ARG_NAME} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${ARG_NAME})
  target_sources(${target} PUBLIC FILE_SET HEADERS
                 BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HDRS})
  target_link_libraries(${target} PUBLIC ${ARG_DEPS} ${tensorflow}
                        Threads::Threads)
  tftrain_compile_settings(${target})
  set_property(GLOBAL APPEND PROPERTY TFTRAIN_LIBRARIES ${target})
endfunction()

# tftrain_cc_binary(NAME x SRCS x.cc DEPS tftrain::y)
function(tftrain_cc_binary)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS})
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  set_target_properties(${ARG_NAME} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  tftrain_compile_settings(${ARG_NAME})
endfunction()

# tftrain_cc_test(NAME session_test SRCS a_test.cc b_test.cc DEPS tftrain::x
#                 LABELS stress)
# builds one program from all the sources and registers one ctest entry per
# source file, which runs the suites that file defines: few links, and a
# failure names its file. LABELS are `unit` unless given; a file called
# x_parity_test.cc has the label `parity` beside them.
function(tftrain_cc_test)
  if(NOT TFTRAIN_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  find_package(GTest REQUIRED)
  tftrain_cc_binary(NAME ${ARG_NAME} SRCS ${ARG_SRCS}
                    DEPS ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  foreach(source IN LISTS ARG_SRCS)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    file(STRINGS ${source} lines REGEX "^(TEST|TEST_F|TEST_P|TYPED_TEST)\\(")
    set(suites "")
    foreach(line IN LISTS lines)
      if(NOT line MATCHES "^[A-Z_]+\\(([A-Za-z0-9_]+)")
        message(FATAL_ERROR "${source}: the suite of \"${line}\" must stand on "
                            "the same line, where the build can read it.")
      endif()
      list(APPEND suites ${CMAKE_MATCH_1})
    endforeach()
    list(REMOVE_DUPLICATES suites)
    if(NOT suites)
      continue()
    endif()
    set(filter "")
    foreach(suite IN LISTS suites)
      string(APPEND filter ":${suite}.*:*/${suite}.*:${suite}/*")
    endforeach()
    string(SUBSTRING "${filter}" 1 -1 filter)
    cmake_path(GET source STEM stem)
    cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR
               BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE folder)
    set(labels ${ARG_LABELS})
    if(stem MATCHES "_parity_test$")
      list(APPEND labels parity)
    endif()
    set(results ${PROJECT_BINARY_DIR}/test_results/${folder}/${stem}.json)
    add_test(NAME ${folder}/${stem}
             COMMAND ${ARG_NAME} --gtest_filter=${filter}
                     --gtest_output=json:${results})
    set_tests_properties(${folder}/${stem} PROPERTIES
      LABELS "${labels}" TIMEOUT ${TFTRAIN_TEST_TIMEOUT}
      ENVIRONMENT "TF_CPP_MIN_LOG_LEVEL=1")
  endforeach()
endfunction()

# tftrain_umbrella() makes the target tftrain::tftrain, all layers but testing;
# called once, after the layers.
function(tftrain_umbrella)
  get_property(layers GLOBAL PROPERTY TFTRAIN_LIBRARIES)
  list(REMOVE_ITEM layers tftrain_testing)
  add_library(tftrain_umbrella INTERFACE)
  add_library(tftrain::tftrain ALIAS tftrain_umbrella)
  set_target_properties(tftrain_umbrella PROPERTIES EXPORT_NAME tftrain)
  target_link_libraries(tftrain_umbrella INTERFACE ${layers} TensorFlow::cc)
  target_sources(tftrain_umbrella INTERFACE FILE_SET HEADERS
                 BASE_DIRS ${PROJECT_SOURCE_DIR}
                 FILES ${PROJECT_SOURCE_DIR}/tftrain/tftrain.h)
endfunction()
