-- Roles and schema. Runs before every migration, as the login that asked for it; each step is
-- skipped when it was done before. Roles belong to the whole server, so two databases may race.
--
--   voicerag_owner   owns schema and tables
--   voicerag_writer  what the program runs as: rows, no definitions
--   voicerag_reader  the same without writing
--   voicerag_search  owns one view and nothing else (see 0001_schema.sql)
DO $$
DECLARE
    wanted text;
    -- Since version 16 who makes a role is a member of it, but may not act as it.
    membership text := CASE
        WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[
        'voicerag_owner', 'voicerag_writer', 'voicerag_reader', 'voicerag_search'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    -- Without inheritance, or the policy of voicerag_search would count for the owner too.
    IF NOT pg_has_role('voicerag_owner', 'voicerag_search', membership) THEN
        GRANT voicerag_search TO voicerag_owner;
    END IF;
    FOREACH wanted IN ARRAY ARRAY['voicerag_owner', 'voicerag_writer', 'voicerag_reader'] LOOP
        IF NOT pg_has_role(current_user, wanted, membership) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'voicerag') THEN
        CREATE SCHEMA voicerag AUTHORIZATION voicerag_owner;
    END IF;
END
$$;
