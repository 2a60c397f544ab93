// What an attempt gives: how many ways it tried, and which got through. A way that throws did not.
export const trying = async ways => {
  const escaped = [];
  for (const [name, way] of Object.entries(ways)) {
    let through = false;
    try {
      through = Boolean(await way());
    } catch (error) {
      // A slip of the attempt itself must not pass for a defence.
      if (error instanceof ReferenceError && !/undeclared|leak|secret/.test(error.message)) escaped.push(`${name}: ${error.message}`);
    }
    if (through) escaped.push(name);
  }
  return harden({ tried: Object.keys(ways).length, escaped });
};
