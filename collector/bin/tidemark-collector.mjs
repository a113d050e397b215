#!/usr/bin/env node
/** The name under which npm finds the program; it is there before anything was built. */
import '../dist/main.js';
