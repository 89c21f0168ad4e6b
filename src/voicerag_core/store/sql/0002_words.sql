-- Words of title, headings and announcement are searched besides those of the text, and all of
-- them weigh by how often they stand in a passage for its length. Runs as voicerag_owner with the
-- schema of the extension on the search path.

-- What the weight of a word is measured by, written down with `lexemes`.
ALTER TABLE voicerag.collections
    ADD COLUMN mean_words real NOT NULL DEFAULT 0;  -- different words of a passage, on average

-- Text as a search by words sees it. Postgres splits text at spaces and punctuation, which Chinese
-- and Japanese do not put between words. There, every two neighbouring characters are a word, the
-- usual stand-in for segmentation; a search for one character alone finds nothing. The ranges are
-- Hiragana, Katakana and Han of Unicode 15. Every such character is doubled, "abc" gives
-- "a ab bc c", and then those left alone at the ends of a run of two or more go.
CREATE FUNCTION voicerag.searchable(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    c CONSTANT text := '[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]';
BEGIN
    IF value !~ c THEN
        RETURN value;
    END IF;
    value := regexp_replace(value, '(' || c || ')', '\1 \1', 'g');
    value := regexp_replace(value, '(?<!' || c || ')(' || c || ') \1(?!' || c || ')', ' \1 ', 'g');
    value := regexp_replace(value, '(?<!' || c || ')' || c || ' (?=' || c || c || ')', ' ', 'g');
    RETURN regexp_replace(value, '(?<=' || c || c || ') ' || c || '(?!' || c || ')', ' ', 'g');
END
$$;

-- The words by which a passage is found: of its title, of the headings above it, of the
-- announcement that it goes on from, and of its text.
CREATE FUNCTION voicerag.passage_words(language regconfig, body text, metadata jsonb)
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector(language, voicerag.searchable(
        CASE jsonb_typeof(metadata -> 'title')
            WHEN 'string' THEN (metadata ->> 'title') || E'\n' ELSE '' END
        || CASE jsonb_typeof(metadata -> 'path') WHEN 'array' THEN coalesce(
            (SELECT string_agg(heading, E'\n' ORDER BY place) || E'\n'
             FROM jsonb_array_elements_text(metadata -> 'path') WITH ORDINALITY p(heading, place)),
            '') ELSE '' END
        || CASE jsonb_typeof(metadata -> 'lead')
            WHEN 'string' THEN (metadata ->> 'lead') || E'\n' ELSE '' END
        || body))
$$;

-- Writes down in how many passages of a collection its words stand: of up to 20,000 passages, of
-- a larger collection of every so many-th, the 20,000 commonest words. The others count as rare.
CREATE FUNCTION voicerag.count_words(wanted integer) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    every integer := (SELECT greatest(1, ceil(passages / 20000.0)) FROM voicerag.collections
                      WHERE id = wanted);
    sample text := format('voicerag.tenant_passages WHERE collection_id = %s AND pid %% %s = 0',
                          wanted, every);
    mean real;
BEGIN
    DELETE FROM voicerag.lexemes WHERE collection_id = wanted;
    INSERT INTO voicerag.lexemes (tenant, collection_id, lexeme, passages)
        SELECT current_setting('voicerag.tenant'), wanted, word, ndoc::bigint * every
        FROM ts_stat('SELECT words FROM ' || sample)
        WHERE ndoc > 1 ORDER BY ndoc DESC LIMIT 20000;
    EXECUTE 'SELECT avg(length(words)) FROM ' || sample INTO mean;
    UPDATE voicerag.collections SET counted_words_at = passages, mean_words = coalesce(mean, 0)
        WHERE id = wanted;
END
$$;
REVOKE ALL ON FUNCTION voicerag.count_words FROM PUBLIC;
GRANT EXECUTE ON FUNCTION voicerag.count_words TO voicerag_writer;

-- Passages that are there already, of every tenant in turn. Row-level security hides the tenants
-- from the owner too, so it is lifted for their list.
DROP INDEX voicerag.passages_words;
ALTER TABLE voicerag.collections NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    here record;
BEGIN
    FOR here IN SELECT tenant, id, language FROM voicerag.collections ORDER BY tenant, id LOOP
        PERFORM set_config('voicerag.tenant', here.tenant, true);
        UPDATE voicerag.passages
            SET words = voicerag.passage_words(here.language::regconfig, body, metadata)
            WHERE collection_id = here.id;
        PERFORM voicerag.count_words(here.id);
    END LOOP;
    PERFORM set_config('voicerag.tenant', '', true);
END
$$;
ALTER TABLE voicerag.collections FORCE ROW LEVEL SECURITY;
CREATE INDEX passages_words ON voicerag.passages USING gin (words);
