// The endowment `publisher`: data under names, for anybody to read without a message. One function expression: called once, after lockdown,
// with the native powers; it returns the publisher.
(function publishing(powers) {
  'use strict';

  const { Far, publish, unpublish } = powers;

  return Far('publisher', {
    publish: (name, value) => publish(name, value),
    unpublish: name => unpublish(name),
  });
})
