(0, eval)("class A {" + Array.from({ length: 20000 }, (_, i) => "#p" + i + "=1;").join("") + "} new A(); 1")
