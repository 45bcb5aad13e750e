// What a file needs before it includes <lrpolicy/...>: C++11, and every operation rounded, no fused multiply-add.
#ifndef CAFFE_UTIL_LRPOLICY_STRICT_HPP_
#define CAFFE_UTIL_LRPOLICY_STRICT_HPP_

#if __cplusplus < 201103L
#error "lrpolicy needs C++11: add -std=c++11 (Makefile builds: CXXFLAGS += -std=c++11 in Makefile.config)"
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#endif  // CAFFE_UTIL_LRPOLICY_STRICT_HPP_
