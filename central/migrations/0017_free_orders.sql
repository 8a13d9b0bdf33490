-- Each order that is given out leaves a free one behind it: there a life of the server begins, above all that
-- was there and below all that is written in it, also by who draws an order before the life is noted.
ALTER SEQUENCE sync.version_order INCREMENT BY 2;
