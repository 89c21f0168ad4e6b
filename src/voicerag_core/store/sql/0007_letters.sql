-- Letters beyond ASCII, in a database whose own locale knows none (LC_CTYPE C, which operators for
-- Kubernetes choose): there "École" kept its capital in the index of words, so that "école" did not
-- find it, and "café" ended before its last letter. Functions name a collation that knows them; where
-- the locale does, they stay as they were. Runs as voicerag_owner with the schema of the extension
-- on the search path.

DO $$
DECLARE
    e_acute CONSTANT text := chr(233);
    known text;
    fits boolean := lower(chr(201)) = e_acute AND e_acute ~ '[[:alpha:]]';
    here record;
BEGIN
    IF fits THEN
        RETURN;
    END IF;
    FOR known IN
        SELECT name FROM unnest(ARRAY['pg_c_utf8', 'C.utf8', 'C.UTF-8', 'und-x-icu', 'en_US.utf8'])
            WITH ORDINALITY AS wanted(name, place)
        JOIN pg_collation ON collname = name AND collnamespace = 'pg_catalog'::regnamespace
            AND collencoding IN (-1, pg_char_to_encoding('UTF8'))
        ORDER BY place
    LOOP
        BEGIN
            EXECUTE format(
                'SELECT lower(chr(201) COLLATE %1$I) = $1 AND $1 COLLATE %1$I ~ ''[[:alpha:]]''',
                known) INTO fits USING e_acute;
        EXCEPTION WHEN OTHERS THEN  -- the machine has lost this locale
            fits := false;
        END;
        EXIT WHEN fits;
    END LOOP;
    IF NOT fits THEN
        RETURN;
    END IF;

    EXECUTE format(
        'CREATE OR REPLACE FUNCTION voicerag.lower_case(value text) RETURNS text '
        'LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$ SELECT lower(value COLLATE %I) $body$',
        known);
    ALTER FUNCTION voicerag.searchable(text) RENAME TO paired;
    CREATE FUNCTION voicerag.searchable(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS 'SELECT voicerag.paired(voicerag.lower_case(value))';
    -- That of 0003_vocabulary.sql.
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION voicerag.written_words(body text, metadata jsonb) '
        'RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$ '
        'SELECT DISTINCT found[1] FROM regexp_matches(('
            'CASE jsonb_typeof(metadata -> ''title'') '
                'WHEN ''string'' THEN (metadata ->> ''title'') || E''\n'' ELSE '''' END '
            '|| CASE jsonb_typeof(metadata -> ''path'') WHEN ''array'' THEN coalesce('
                '(SELECT string_agg(heading, E''\n'') || E''\n'' '
                'FROM jsonb_array_elements_text(metadata -> ''path'') heading), '''') ELSE '''' END '
            '|| body) COLLATE %1$I, ''[[:alnum:]]+(?:-[[:alnum:]]+)*'', ''g'') found '
        'WHERE length(found[1]) BETWEEN 2 AND 30 AND found[1] COLLATE %1$I ~ ''[[:alpha:]]'' '
        '$body$', known);

    -- Passages that are there already, of every tenant in turn; see 0002_words.sql. Words of a text
    -- that is too long to be indexed whole stay as they are.
    ALTER TABLE voicerag.passages DISABLE TRIGGER USER;
    ALTER TABLE voicerag.collections NO FORCE ROW LEVEL SECURITY;
    FOR here IN SELECT tenant, id, language FROM voicerag.collections ORDER BY tenant, id LOOP
        PERFORM set_config('voicerag.tenant', here.tenant, true);
        UPDATE voicerag.passages
            SET words = voicerag.passage_words(here.language::regconfig, body, metadata)
            WHERE collection_id = here.id AND length(body) + length(metadata::text) < 25000
                AND octet_length(body) + octet_length(metadata::text)
                    > length(body) + length(metadata::text);
        PERFORM voicerag.count_words(here.id);
        DELETE FROM voicerag.vocabulary WHERE collection_id = here.id;
        INSERT INTO voicerag.vocabulary
            SELECT tenant, collection_id, word, count(*)
            FROM voicerag.passages, voicerag.written_words(body, metadata) word
            WHERE collection_id = here.id GROUP BY 1, 2, 3;
        UPDATE voicerag.collections SET vocabulary_version = vocabulary_version + 1
            WHERE id = here.id;
    END LOOP;
    PERFORM set_config('voicerag.tenant', '', true);
    ALTER TABLE voicerag.collections FORCE ROW LEVEL SECURITY;
    ALTER TABLE voicerag.passages ENABLE TRIGGER USER;
END
$$;
