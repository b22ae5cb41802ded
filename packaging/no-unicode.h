/* Included before each file of C: PCRE2, with which libgit2 matches names of settings as bytes, needs no tables of Unicode. */
#undef SUPPORT_UNICODE
